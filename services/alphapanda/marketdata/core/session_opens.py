"""Adds the sessions' opens to a replay of bars: a bar is known at its end, but the market opens before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from alphapanda.domain.calendar import CalendarNotCovered, Session, TradingCalendar
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.marketdata.core.ticks import TickBatch


def with_session_opens(
    batches: Iterable[TickBatch], directory: InstrumentDirectory, calendar: TradingCalendar
) -> Iterator[TickBatch]:
    """Yields the batches, and before the first bars of a session a batch without ticks at its open.

    So what was decided at the close before is traded at the open, with the market's time of the open. A session of which an
    earlier batch has passed the open gets none. Batches of trades are left as they are.
    """
    segments = {each.instrument_token: each.session_segment for each in directory}
    current: dict[str, Session] = {}
    market_time_ns = 0
    for batch in batches:
        for tick in batch.ticks:
            start = tick[4]
            segment = segments.get(tick[0])
            if start is None or segment is None:
                continue
            session = current.get(segment)
            if session is not None and session.open_ns <= start < session.close_ns:
                continue
            found = _session(start, segment, calendar)
            if found is None:
                continue
            current[segment] = found
            if market_time_ns < found.open_ns < batch.market_time_ns:
                market_time_ns = found.open_ns
                yield TickBatch(market_time_ns, ())
        market_time_ns = batch.market_time_ns
        yield batch


def _session(at_ns: int, segment: str, calendar: TradingCalendar) -> Session | None:
    try:
        return calendar.session_at_ns(at_ns, segment)
    except CalendarNotCovered:
        return None
