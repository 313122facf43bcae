"""A frame: many ticks as columns (rule 7)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from alphapanda.domain import ids

SECOND_NS: Final = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@lru_cache(maxsize=64)  # an order converts the same moment several times
def instant(nanoseconds: int) -> datetime:
    """Converts nanoseconds since the epoch to an aware UTC datetime; fractions of a microsecond are dropped."""
    return EPOCH + nanoseconds // 1000 * _MICROSECOND


def nanoseconds(moment: datetime) -> int:
    """Converts an aware datetime to nanoseconds since the epoch, exactly."""
    delta = moment - EPOCH
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000


class _Columns(NamedTuple):
    feed_run: str
    shard: int
    sequence: int
    market_time_ns: int
    price_scale: int
    instrument_token: Sequence[int]
    last_price: Sequence[int]
    exchange_time: Sequence[int]
    bar_start: Sequence[int]
    volume: Sequence[int]
    open: Sequence[int]
    high: Sequence[int]
    low: Sequence[int]
    simulated: bool


class Frame(_Columns):
    """Ticks as columns; every non-empty column has one value per tick. A frame without ticks is a heartbeat.

    It is a tuple, which is fast to make and immutable, because a replay makes one for every bar.

    Attributes:
        feed_run: id of the feed's run that made it.
        shard: the shard of its instruments.
        sequence: 1, 2, 3 … within (feed_run, shard).
        market_time_ns: market time at the frame's end, nanoseconds since the epoch.
        price_scale: price units in one rupee.
        instrument_token: per tick.
        last_price: per tick, in 1/price_scale rupees, > 0; a bar's close.
        exchange_time: per tick, nanoseconds since the epoch; a bar's end.
        bar_start: start of the bar that a tick closes, nanoseconds since the epoch; empty if ticks don't close bars.
        volume: units traded in the day so far, per tick; empty if not given.
        open: first price of the bar that a tick closes, in 1/price_scale rupees; empty if ticks don't close bars, or these
            are known by their closes alone.
        high: its highest price; empty if `open` is.
        low: its lowest price; empty if `open` is.
        simulated: True if the feed sets market time itself (simulator, recording).
    """

    __slots__ = ()

    def __new__(  # noqa: PYI034 - a Frame, whatever inherits
        cls,
        feed_run: str,
        shard: int,
        sequence: int,
        market_time_ns: int,
        price_scale: int,
        instrument_token: Sequence[int] = (),
        last_price: Sequence[int] = (),
        exchange_time: Sequence[int] = (),
        bar_start: Sequence[int] = (),
        volume: Sequence[int] = (),
        open: Sequence[int] = (),  # noqa: A002 - a bar's open, as everybody calls it
        high: Sequence[int] = (),
        low: Sequence[int] = (),
        simulated: bool = True,
    ) -> Frame:
        """Makes a frame after checking the columns' lengths, in constant time.

        Raises:
            ValueError: a column has another length.
        """
        ticks = len(instrument_token)
        for name, column in (("last_price", last_price), ("exchange_time", exchange_time)):
            if len(column) != ticks:
                raise ValueError(f"frame column {name} has {len(column)} values for {ticks} ticks")
        for name, column in (("bar_start", bar_start), ("volume", volume), ("open", open)):
            if len(column) not in (0, ticks):
                raise ValueError(f"frame column {name} has {len(column)} values for {ticks} ticks")
        for name, column in (("high", high), ("low", low)):
            if len(column) != len(open):
                raise ValueError(f"frame column {name} has {len(column)} values for {len(open)} opens")
        return tuple.__new__(
            cls,
            (
                feed_run,
                shard,
                sequence,
                market_time_ns,
                price_scale,
                instrument_token,
                last_price,
                exchange_time,
                bar_start,
                volume,
                open,
                high,
                low,
                simulated,
            ),
        )

    @property
    def frame_id(self) -> str:
        """The frame's id, derived from (feed_run, shard, sequence); computed on demand, because a replay rarely needs it."""
        return ids.frame_id(self.feed_run, self.shard, self.sequence)

    @property
    def market_time(self) -> datetime:
        """Market time at the frame's end, aware UTC."""
        return instant(self.market_time_ns)
