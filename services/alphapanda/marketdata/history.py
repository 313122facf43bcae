"""Bars of the past, from the broker whose session this service follows, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Protocol, Self

from alphapanda.contract.wire import decimal, timestamp
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument
from alphapanda.marketdata.core.historical import HistoricalBar, Interval, interval_of, span_end
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from panda.marketdata.v1 import marketdata_pb2 as api

NO_HISTORY: Final = (
    "no broker here gives bars of the past: Zerodha isn't used (zerodha.api_key, in the service marketdata zerodha.accounts);"
    " `alphapanda replay FILE` reads bars that you have"
)


class HistorySource(Protocol):
    """Gives bars of the past."""

    async def bars(
        self, instrument: Instrument, interval: Interval, first: date, last: date
    ) -> Sequence[HistoricalBar]:
        """The bars that begin on these days in India, oldest first.

        Args:
            instrument: its token is the broker's.
            interval: length of a bar.
            first: the first day.
            last: the last day, at most `interval.most_days` days from the first on.

        Raises:
            FailedPrecondition: nobody is signed in at the broker.
            Unavailable: it doesn't answer.
            InvalidInput: it has no bars of such an instrument.
        """


@dataclass(frozen=True, slots=True)
class HistoryWanted:
    """What a request asks for.

    Attributes:
        interval: length of the bars.
        first: first day of the page.
        last: last day of all pages.
        most_days: most days of the page.
        filters: identify the request in page tokens.
    """

    interval: Interval
    first: date
    last: date
    most_days: int
    filters: str

    @classmethod
    def of(cls, request: api.ListHistoricalBarsRequest) -> Self:
        """Reads a request.

        Raises:
            InvalidInput: a day, the interval or the page_token isn't allowed.
        """
        interval = interval_of(request.interval)
        first, last = _day("first_day", request.first_day), _day("last_day", request.last_day)
        if last < first:
            raise InvalidInput("last_day", request.last_day, f"a day from first_day ({first}) on")
        filters = f"{request.symbol}\x1f{interval.name}\x1f{first}\x1f{last}"
        after = decode_page_token(request.page_token, filters, str)
        return cls(
            interval,
            _day("page_token", str(after[0])) if after else first,
            last,
            request.page_size or interval.most_days,
            filters,
        )


async def page_of(
    source: HistorySource, instrument: Instrument, wanted: HistoryWanted
) -> api.ListHistoricalBarsResponse:
    """The page that begins on `wanted.first`."""
    until = span_end(wanted.first, wanted.last, min(wanted.interval.most_days, wanted.most_days))
    bars = await source.bars(instrument, wanted.interval, wanted.first, until)
    more = until < wanted.last
    return api.ListHistoricalBarsResponse(
        bars=map(_message, bars),
        next_page_token=encode_page_token((str(until + timedelta(days=1)),), wanted.filters) if more else "",
        covered_until=str(until),
    )


def _message(bar: HistoricalBar) -> api.HistoricalBar:
    return api.HistoricalBar(
        start=timestamp(bar.start),
        open=decimal(bar.open),
        high=decimal(bar.high),
        low=decimal(bar.low),
        close=decimal(bar.close),
        volume=bar.volume,
        open_interest=bar.open_interest,
    )


def _day(field: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(field, text, "a day as YYYY-MM-DD") from None
