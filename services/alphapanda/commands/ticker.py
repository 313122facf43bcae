"""Output of a running `alphapanda up`: fills as they happen, profit at intervals."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Final

import grpc
import structlog

from alphapanda.app.clocks import IST
from alphapanda.app.embedded import Embedded
from alphapanda.app.options import consumer_options
from alphapanda.commands.console import out
from alphapanda.commands.tables import figures
from alphapanda.commands.wording import amount, count, gain, money, rupees
from alphapanda.consuming.follower import TopicFollower
from alphapanda.contract.wire import moment
from alphapanda.domain.order import Side
from alphapanda.eventlog.port import Start
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.status import describe_rpc_error
from alphapanda.resilience.tasks import kept_running
from alphapanda.settings.model import Settings
from panda.events.v1.events_pb2 import Event
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub

PORTFOLIO_SERVICE: Final = "panda.portfolio.v1.PortfolioService"
PROFIT_EVERY_SECONDS: Final = 15.0
_log = structlog.get_logger(__name__)


class Ticker:
    """Shows fills and profit on a terminal, logs them elsewhere.

    Args:
        embedded: what runs.
        settings: all of them.
        on_terminal: whether a person looks.

    Attributes:
        fills: since the start.
    """

    def __init__(self, embedded: Embedded, settings: Settings, *, on_terminal: bool) -> None:
        self._embedded = embedded
        self._settings = settings
        self._on_terminal = on_terminal
        self._began = time.monotonic()
        self.fills = 0
        self._follower: TopicFollower | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Prints the address of the API, then starts to show fills and profit."""
        target = self._embedded.target
        _log.info(
            "process.ready",
            target=target,
            feed=self._embedded.feeding.feed.name if self._embedded.feeding else "",
        )
        if self._on_terminal:
            out.print(f"[bold green]alphapanda answers on {target}[/bold green]; Ctrl-C ends it. Try:")
            out.print(
                f"  grpcurl -plaintext {target} panda.portfolio.v1.PortfolioService/GetPortfolio",
                soft_wrap=True,
            )
            out.print(f"  alphapanda call PortfolioService/GetPortfolio --target {target}")
            if self._embedded.feeding is not None and self._embedded.feeding.feed.simulated:
                out.print(
                    "[yellow]prices and market time are simulated or replayed: this is not the market[/yellow]"
                )
        if self._embedded.log is None or self._embedded.topic_map is None:
            return
        self._follower = TopicFollower(
            name="terminal.fills",
            service="terminal",
            log=self._embedded.log,
            topic_map=self._embedded.topic_map,
            payload="order_filled",
            on_event=self._filled,
            start=Start.LATEST,
            policy=consumer_options(self._settings.consumers),
        )
        await self._follower.start()
        self._task = kept_running(self._profit, "profit", _log)

    async def stop(self) -> None:
        """Ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._follower is not None:
            await self._follower.stop()

    def feed_finished(self) -> None:
        """Prints that the recording has ended."""
        _log.info("recording.ended")
        if self._on_terminal:
            out.print("[bold]the recording has ended[/bold]; the services go on answering")

    async def _filled(self, event: Event) -> None:
        filled = event.order_filled
        order = filled.order
        self.fills += 1
        if self.fills == 1:
            _log.info("fill.first_reported", seconds_after_ready=round(time.monotonic() - self._began, 3))
        side = Side(order.side).name
        _log.info(
            "fill.reported",
            broker=event.broker,
            strategy_id=order.strategy_id,
            instrument_id=order.instrument_id,
            side=side,
            quantity=filled.quantity,
            price=filled.price.value,
            correlation_id=event.correlation_id,
        )
        if self._on_terminal:
            at = moment(filled.traded_at).astimezone(IST)
            colour = "green" if side == "BUY" else "red"
            out.print(
                f"{at:%d %b %H:%M:%S}  [{colour}]{side:4}[/{colour}] {count(filled.quantity):>6}"
                f" {order.instrument_id:<16} @ {rupees(Decimal(filled.price.value)):>12}  {order.strategy_id}"
            )

    async def _profit(self) -> None:
        target, security = self._embedded.target, self._embedded.security.own
        async with open_channel(target, [PORTFOLIO_SERVICE], security=security) as channel:
            stub = PortfolioServiceStub(channel)
            while True:
                await asyncio.sleep(PROFIT_EVERY_SECONDS)
                try:
                    answer = await stub.GetPortfolio(portfolio.GetPortfolioRequest())
                except grpc.aio.AioRpcError as away:
                    _log.warning("profit.delayed", error=describe_rpc_error(away))
                    continue
                self._show(answer.portfolio)

    def _show(self, shown: portfolio.Portfolio) -> None:
        known = shown.profit.HasField("net_pnl")
        net = Decimal(shown.profit.net_pnl.amount.value) if known else None
        _log.info(
            "profit.reported", equity=shown.equity.amount.value, net_pnl=None if net is None else str(net)
        )
        if self._on_terminal and net is not None:
            line = figures([("equity", money(amount(shown, "equity"))), ("net P&L", gain(net, alone=True))])
            out.print(line)
