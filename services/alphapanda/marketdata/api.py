"""MarketDataService: quotes, and the market's status at the feed's market time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import grpc
from typing_extensions import override

from alphapanda.contract.wire import decimal, timestamp
from alphapanda.domain.calendar import CalendarNotCovered, Session, TradingCalendar
from alphapanda.domain.errors import UnknownName
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.marketdata.history import NO_HISTORY, HistorySource, HistoryWanted, page_of
from alphapanda.marketdata.live_view import LiveView
from alphapanda.marketdata.watching import QuoteWatches
from alphapanda.mesh.errors import FailedPrecondition, NotFound
from alphapanda.storage.price_cache import CachedPrice, PriceCache
from panda.marketdata.v1 import marketdata_pb2 as api
from panda.marketdata.v1 import marketdata_pb2_grpc

EXCHANGE: Final = "NSE"
LONGEST_SEGMENT: Final = "NSE_EQ"
MAX_QUOTES: Final = 500

Context = grpc.aio.ServicerContext[Any, Any]


class FeedStatus(Protocol):
    """The feed's name and counters; the publisher implements it."""

    @property
    def feed_name(self) -> str:
        """The feed's registered name."""

    @property
    def ticks(self) -> int:
        """Ticks that passed the sanitiser since the process started."""

    @property
    def speed(self) -> float | None:
        """Market seconds per wall second that the feed is asked for; None where it goes as fast as it can."""

    @property
    def speed_reached(self) -> float | None:
        """Market seconds per wall second over the last ten seconds; None before."""

    def dropped(self) -> Mapping[str, int]:
        """Ticks dropped since the process started, by reason."""


class MarketDataServicer(marketdata_pb2_grpc.MarketDataServiceServicer):
    """Implements MarketDataService.

    Args:
        cache: prices and the market's clock.
        directory: the instruments.
        calendar: trading days and sessions.
        feed: the feed's status.
        watches: opens watches on quotes.
        history: gives bars of the past; None: no broker here does.
        live: returns how the live feed is; None where there is none here.
    """

    def __init__(
        self,
        cache: PriceCache,
        directory: InstrumentDirectory,
        calendar: TradingCalendar,
        feed: FeedStatus,
        watches: QuoteWatches,
        history: HistorySource | None = None,
        live: Callable[[], LiveView | None] = lambda: None,
    ) -> None:
        self._cache = cache
        self._directory = directory
        self._calendar = calendar
        self._feed = feed
        self._watches = watches
        self._history = history
        self._live = live

    @override
    async def GetQuotes(self, request: api.GetQuotesRequest, context: Context) -> api.GetQuotesResponse:
        """Returns last prices of the symbols; without symbols, of the first 500 instruments with a price, by symbol.

        Raises:
            NotFound: a symbol doesn't exist; the error suggests the nearest one.
        """
        wanted = [self._require(symbol) for symbol in request.symbols] or sorted(
            self._directory, key=lambda instrument: instrument.symbol
        )
        if request.symbols:
            self._watches.ask(instrument.instrument_token for instrument in wanted)
        reading = await self._cache.read([instrument.instrument_token for instrument in wanted])
        market_time = self._cache.market_time(reading.clock)
        live = self._live()
        priced = [i for i in wanted if i.instrument_token in reading.prices]
        return api.GetQuotesResponse(
            quotes=[_quote(i, reading.prices[i.instrument_token], live) for i in priced[:MAX_QUOTES]],
            without_price=[
                i.symbol for i in wanted if request.symbols and i.instrument_token not in reading.prices
            ],
            market_time=timestamp(market_time),
        )

    @override
    def WatchQuotes(  # type: ignore[override]
        self, request: api.WatchQuotesRequest, context: Context
    ) -> AsyncIterator[bytes]:
        """Streams last prices as they change; messages are bytes, because a quote is encoded once for all watches.

        Raises:
            NotFound: a symbol or an id doesn't exist; the error suggests the nearest symbol.
        """
        wanted = {one.instrument_id: one for one in map(self._require, request.symbols)}
        wanted |= {one.instrument_id: one for one in map(self._require_id, request.instrument_ids)}
        return self._watches.watch(list(wanted.values()), request.min_interval_ms / 1000)

    @override
    async def GetMarketStatus(
        self, request: api.GetMarketStatusRequest, context: Context
    ) -> api.GetMarketStatusResponse:
        """Returns market time and session; `open` is true while any of the exchange's stocks trades.

        Raises:
            UnknownName: the exchange has no calendar.
        """
        if request.exchange not in {"", EXCHANGE}:
            raise UnknownName("exchange", request.exchange, [EXCHANGE])
        clock = (await self._cache.read(())).clock
        market_time = self._cache.market_time(clock)
        live = self._live()
        session = self._session(market_time)
        return api.GetMarketStatusResponse(
            exchange=EXCHANGE,
            open=session is not None,
            market_time=timestamp(market_time),
            trading_day=str(self._calendar.trading_day(market_time)) if market_time else "",
            closes_at=timestamp(session.close if session else None),
            next_open=timestamp(self._next_open(market_time)),
            feed=self._feed.feed_name,
            feed_run=clock.feed_run if clock else "",
            simulated=clock.simulated if clock else False,
            ticks=self._feed.ticks,
            dropped=self._feed.dropped(),
            speed=self._feed.speed,
            speed_reached=self._feed.speed_reached,
            live=None if live is None else live.message(time.time_ns()),
        )

    @override
    async def ListHistoricalBars(
        self, request: api.ListHistoricalBarsRequest, context: Context
    ) -> api.ListHistoricalBarsResponse:
        """Lists bars of the past by page.

        Raises:
            InvalidInput: a day, the interval or the page_token isn't allowed.
            NotFound: the symbol doesn't exist.
            FailedPrecondition: no broker here gives bars, or nobody is signed in at it.
            Unavailable: the broker doesn't answer.
        """
        wanted = HistoryWanted.of(request)
        instrument = self._require(request.symbol)
        if self._history is None:
            raise FailedPrecondition("HISTORY_NOT_AVAILABLE", NO_HISTORY)
        return await page_of(self._history, instrument, wanted)

    def _require(self, symbol: str) -> Instrument:
        found = self._directory.by_symbol(symbol)
        if found is None:
            hint = self._directory.unknown(symbol, "symbol").hint
            raise NotFound(
                "INSTRUMENT_NOT_FOUND", f"no instrument has the symbol {symbol!r}; {hint}", symbol=symbol
            )
        return found

    def _require_id(self, instrument_id: str) -> Instrument:
        found = self._directory.by_id(instrument_id)
        if found is None:
            raise NotFound(
                "INSTRUMENT_NOT_FOUND",
                f"no instrument has the instrument_id {instrument_id!r} today",
                instrument_id=instrument_id,
            )
        return found

    def _session(self, market_time: datetime | None) -> Session | None:
        if market_time is None:
            return None
        try:
            return self._calendar.session_at(market_time, LONGEST_SEGMENT)
        except CalendarNotCovered:
            return None

    def _next_open(self, market_time: datetime | None) -> datetime | None:
        if market_time is None:
            return None
        try:
            return self._calendar.next_session_open(market_time, LONGEST_SEGMENT)
        except CalendarNotCovered:
            return None


def _quote(instrument: Instrument, cached: CachedPrice, live: LiveView | None) -> api.Quote:
    return api.Quote(
        instrument_id=instrument.instrument_id,
        instrument_token=instrument.instrument_token,
        symbol=instrument.symbol,
        last_price=decimal(cached.last.price),
        traded_at=timestamp(cached.last.traded_at),
        volume=cached.volume,
        stream=None if live is None else live.stream(instrument.instrument_token),
    )
