"""Updates a view from a platform: polls what must be polled, watches what can be watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.message import Message

from alphapanda.commands.asking import Services, connected, renewed_after
from alphapanda.commands.finding import Target, why_no_answer
from alphapanda.commands.live.view import View
from alphapanda.commands.status import all_status
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusRequest, WatchQuotesRequest, WatchQuotesResponse
from panda.ops.v1.ops_pb2 import ListConsumerLagRequest
from panda.portfolio.v1.portfolio_pb2 import WatchPortfolioRequest
from panda.risk.v1.risk_pb2 import GetKillSwitchRequest, ListVerdictsRequest
from panda.strategy.v1.strategy_pb2 import ListStrategiesRequest
from panda.trading.v1.trading_pb2 import WatchOrdersRequest

PAPER: Final = "paper"
DEFAULT: Final = "default"
OFTEN: Final = 1.0
SELDOM: Final = 3.0
AGAIN_SECONDS: Final = 1.0
MARK_INTERVAL_MS: Final = 1000
STRATEGIES_SHOWN: Final = 1000
LAGS_SHOWN: Final = 1000


@dataclass(frozen=True, slots=True)
class Source:
    """One source of a view: an RPC that is polled or watched.

    Attributes:
        name: name of the source, such as "orders".
        service: service that answers it, such as "trading".
        answers: makes the calls: one answer of a query, or the messages of a watch.
        every: seconds until it is called again.
    """

    name: str
    service: str
    answers: Callable[[Services], AsyncIterator[Message]]
    every: float


class Following:
    """Updates a view until it is cancelled; when no source answers, the services' addresses are looked up again.

    Args:
        target: addresses to try.
        broker: broker namespace; empty means "paper".
        account: account at the broker; empty means "default".
        note: the view's note.
        clock: seconds, for the view's times.

    Attributes:
        view: the view that is updated.
    """

    def __init__(
        self, target: Target, broker: str, account: str, note: str, clock: Callable[[], float]
    ) -> None:
        self._target = target
        self._clock = clock
        self._sources = sources(broker, account, lambda: self.view.traded)
        self.view = View([source.name for source in self._sources], note)

    async def run(self) -> None:
        """Follows until it is cancelled."""
        while True:
            # In the mesh a service may come back at another address, so all addresses are looked up again.
            async with connected(self._target) as services, asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._follow(source, services)) for source in self._sources]
                await asyncio.sleep(AGAIN_SECONDS)
                while self.view.away is None:  # noqa: ASYNC110 - its own tasks feed it
                    await asyncio.sleep(AGAIN_SECONDS)
                for task in tasks:
                    task.cancel()

    async def _follow(self, source: Source, services: Services) -> None:
        while True:
            try:
                async for answer in source.answers(services):
                    self.view.fold(source.name, answer, self._clock())
            except grpc.aio.AioRpcError as error:
                renewed_after(error, self._target)
                self.view.lost(source.name, self._why(services, source, error), self._clock())
            await asyncio.sleep(source.every)

    def _why(self, services: Services, source: Source, error: grpc.aio.AioRpcError) -> str:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"no answer from {source.service} in time"
        return why_no_answer(self._target, services.addresses[source.service], error)


def sources(broker: str, account: str, traded: Callable[[], Sequence[str]]) -> tuple[Source, ...]:
    """All sources of an account's view; `traded` gives the symbols whose prices are watched."""
    market, switch = GetMarketStatusRequest(), GetKillSwitchRequest(broker=broker)
    refusals = ListVerdictsRequest(broker=broker or PAPER, account=account or DEFAULT, approved=False)
    strategies = ListStrategiesRequest(page_size=STRATEGIES_SHOWN)
    portfolio = WatchPortfolioRequest(broker=broker, account=account, mark_interval_ms=MARK_INTERVAL_MS)
    orders = WatchOrdersRequest(broker=broker, account=account)
    behind = ListConsumerLagRequest(behind=True, page_size=LAGS_SHOWN)
    return (
        Source("market", "marketdata", lambda to: _once(to.market.GetMarketStatus(market)), OFTEN),
        Source("services", "ops", lambda to: _once(all_status(to)), OFTEN),
        Source("lag", "ops", lambda to: _once(to.ops.ListConsumerLag(behind)), OFTEN),
        Source("quotes", "marketdata", lambda to: _quotes(to, traded), AGAIN_SECONDS),
        Source("strategies", "strategy", lambda to: _once(to.strategy.ListStrategies(strategies)), SELDOM),
        Source("verdicts", "risk", lambda to: _once(to.risk.ListVerdicts(refusals)), OFTEN),
        Source("kill switch", "risk", lambda to: _once(to.risk.GetKillSwitch(switch)), SELDOM),
        Source(
            "portfolio", "portfolio", lambda to: aiter(to.portfolio.WatchPortfolio(portfolio)), AGAIN_SECONDS
        ),
        Source("orders", "trading", lambda to: aiter(to.trading.WatchOrders(orders)), AGAIN_SECONDS),
    )


async def _once(answer: Awaitable[Message]) -> AsyncIterator[Message]:
    yield await answer


async def _quotes(to: Services, traded: Callable[[], Sequence[str]]) -> AsyncIterator[Message]:
    """Watches prices of the symbols traded now, until the symbols change; without symbols, only checks that it answers."""
    symbols = traded()
    if not symbols:
        await to.market.GetMarketStatus(GetMarketStatusRequest())
        yield WatchQuotesResponse()
        return
    watch = to.market.WatchQuotes(WatchQuotesRequest(symbols=symbols, min_interval_ms=MARK_INTERVAL_MS))
    async for answer in watch:
        yield answer
        if answer.draining or traded() != symbols:
            watch.cancel()
            return
