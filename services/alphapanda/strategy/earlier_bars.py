"""Bars of the past from market data, for warm-ups for which the log doesn't reach back far enough."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, Protocol

import grpc
import structlog
from typing_extensions import override

from alphapanda.contract.topics import shard_of
from alphapanda.contract.wire import exact
from alphapanda.domain.frame import Frame
from alphapanda.mesh.status import describe_rpc_error
from alphapanda.strategy.core.config import StrategyInstrument
from panda.marketdata.v1 import marketdata_pb2 as api
from panda.marketdata.v1.marketdata_pb2_grpc import MarketDataServiceStub

BUDGET_SECONDS: Final = 15.0
"""Longest wait for all bars of a warm-up: the partition's ticks wait meanwhile."""
FEED_RUN: Final = "history"
SCALE: Final = 10_000
_MINUTE: Final = timedelta(minutes=1)
_INDIA: Final = timedelta(hours=5, minutes=30)
_log: Final = structlog.get_logger(__name__)


class EarlierBars(Protocol):
    """Gives bars of the past as frames."""

    async def frames(
        self, instruments: Sequence[StrategyInstrument], before_ns: int, days: int
    ) -> Sequence[Frame]:
        """One-minute bars that end before a time, a frame each, in the order of their ends.

        Args:
            instruments: of these.
            before_ns: market time, nanoseconds since the epoch.
            days: of so many days before it, at most 60.

        Returns:
            None of them where they can't be had; that was logged.
        """


class MarketDataBars(EarlierBars):
    """Asks MarketDataService."""

    def __init__(self, stub: MarketDataServiceStub) -> None:
        self._stub = stub

    @override
    async def frames(
        self, instruments: Sequence[StrategyInstrument], before_ns: int, days: int
    ) -> Sequence[Frame]:
        last = (datetime.fromtimestamp(before_ns / 1e9, UTC) + _INDIA).date()
        made: list[Frame] = []
        try:
            async with asyncio.timeout(BUDGET_SECONDS):
                for one in instruments:
                    bars = await self._bars(one.symbol, last - timedelta(days=days - 1), last)
                    made += _frames(one.instrument_token, bars, before_ns)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            why = (
                describe_rpc_error(error) if isinstance(error, grpc.aio.AioRpcError) else "no answer in time"
            )
            _log.warning("strategy.warm_up_bars_missing", error=why, days=days)
            return ()
        return sorted(made, key=lambda frame: (frame.market_time_ns, frame.instrument_token[0]))

    async def _bars(self, symbol: str, first: date, last: date) -> list[api.HistoricalBar]:
        request = api.ListHistoricalBarsRequest(
            symbol=symbol, interval="1m", first_day=str(first), last_day=str(last)
        )
        bars: list[api.HistoricalBar] = []
        while True:
            page = await self._stub.ListHistoricalBars(request)
            bars += page.bars
            if not page.next_page_token:
                return bars
            request.page_token = page.next_page_token


def _frames(token: int, bars: Sequence[api.HistoricalBar], before_ns: int) -> Iterator[Frame]:
    day, traded = date.min, 0
    length_ns = int(_MINUTE.total_seconds()) * 1_000_000_000
    for number, bar in enumerate(bars, 1):
        start_ns = bar.start.ToNanoseconds()
        end_ns = start_ns + length_ns
        if end_ns > before_ns:
            return
        of_day = (bar.start.ToDatetime(UTC) + _INDIA).date()
        traded = bar.volume + (traded if of_day == day else 0)
        day = of_day
        opens, high, low, close = (
            int(exact(price) * SCALE) for price in (bar.open, bar.high, bar.low, bar.close)
        )
        yield Frame(
            FEED_RUN, shard_of(token), number, end_ns, SCALE, (token,), (close,), (end_ns,), (start_ns,), (traded,),
            (opens,), (high,), (low,),
        )  # fmt: skip
