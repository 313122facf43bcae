"""A platform as a user has it: the process of `alphapanda up`, told by its log, asked by RPC."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import fork_server
import grpc
import prepared_cluster
import psutil

from alphapanda.domain.order import OrderStatus
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.redis import EmbeddedRedis
from panda.marketdata.v1.marketdata_pb2_grpc import MarketDataServiceStub
from panda.ops.v1.ops_pb2 import GetStatusRequest
from panda.ops.v1.ops_pb2_grpc import OpsServiceStub
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub
from panda.strategy.v1 import strategy_pb2 as strategy
from panda.strategy.v1.strategy_pb2_grpc import StrategyServiceStub
from panda.trading.v1.trading_pb2 import ListOrdersRequest
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

ALPHAPANDA = (str(Path(sys.executable).with_name("alphapanda")), "up", "--port", "0")
OPEN = [status.value for status in OrderStatus if not status.is_final]
START_SECONDS = 30.0
PATIENCE = 3
STOP_SECONDS = 20.0
# An order that was never sent is known to be absent after send window, call timeout and visibility window.
IMPATIENT = {
    "ALPHAPANDA_TRADING__CALL_TIMEOUT_SECONDS": "1",
    "ALPHAPANDA_PAPER_TRADING__VISIBILITY_WINDOW_SECONDS": "0.5",
}


BUSY: Mapping[str, Any] = {
    "parameters": {"fast": "1", "slow": "2"},
    "symbols": ["NSE:INFY", "NSE:TCS", "NSE:RELIANCE", "NSE:HDFCBANK", "NSE:MARUTI", "NSE:BHARTIARTL"],
    "quantity": 10,
}
"""A strategy that has orders under way at any moment: on one instrument alone there is one every three seconds or so."""


def until(reached: Callable[[], object], seconds: float, what: str) -> Any:
    """The first true value of `reached`; an AssertionError that names `what` where it takes far over `seconds`.

    A test is no stopwatch: a busy machine has PATIENCE times as long.
    """
    deadline = time.monotonic() + PATIENCE * seconds
    while True:
        if value := reached():
            return value
        assert time.monotonic() < deadline, f"{what} not within {PATIENCE * seconds:g} s"
        time.sleep(0.05)


def create_and_start(
    strategy_id: str, **more: Any
) -> tuple[strategy.CreateStrategyRequest, strategy.StartStrategyRequest]:
    """The requests that make an ema_cross run; it trades INFY often where nothing else is wanted."""
    wanted = {"parameters": {"fast": "3", "slow": "6"}, "symbols": ["NSE:INFY"], "quantity": 100} | more
    create = strategy.CreateStrategyRequest(
        request_id=f"create-{strategy_id}", strategy_id=strategy_id, strategy_type="ema_cross", **wanted
    )
    return create, strategy.StartStrategyRequest(request_id=f"start-{strategy_id}", strategy_id=strategy_id)


def servers_of(data_dir: Path) -> list[psutil.Process]:
    """The processes that name a data directory (PostgreSQL, Redis, us) or run in one of its clusters."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(data_dir) in " ".join([*process.cmdline(), process.cwd()]):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _own_instruments(folder: Path) -> dict[str, str]:
    """The setting by which what a platform is told to import stays in its folder, and out of the user's registry."""
    return {"ALPHAPANDA_INSTRUMENTS__FILE": str(folder.absolute() / "instruments.sqlite")}


class Platform:
    """One process after another on one data directory.

    Where there is none, the first one begins with a prepared database: `initdb` and every migration take as long as the
    rest of a start.

    Args:
        data_dir: where it keeps everything.
        arguments: more of them for `program`.
        program: what is run; `--data-dir` is added.
        environment: more settings.
        home: where it is run from and what it says is kept; beside the data directory where absent.
        prepared: whether a first start finds a prepared database.
    """

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        program: tuple[str, ...] = ALPHAPANDA,
        environment: Mapping[str, str] | None = None,
        home: Path | None = None,
        prepared: bool = True,
    ) -> None:
        self.data_dir = data_dir
        self.arguments = arguments
        self.process: fork_server.Process | None = None
        self.target = ""
        self._program = program
        self._environment = dict(environment or {})
        self._channel: grpc.Channel | None = None
        self._home = home or data_dir.parent
        self._prepared = prepared
        self._runs = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self._leave()
        asyncio.run(_stop_servers(self.data_dir))

    # -- life ---------------------------------------------------------------------------------------------------------

    def launch(self, *more: str) -> None:
        """Starts the process, without waiting for it."""
        self._runs += 1
        self._home.mkdir(parents=True, exist_ok=True)
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = fork_server.popen(
                [*self._program, "--data-dir", str(self.data_dir), *self.arguments, *more],
                stdout=out,
                stderr=err,
                cwd=self._home,
                env={**os.environ, **_own_instruments(self._home), **self._environment},
            )

    def start(self, *more: str) -> None:
        """Starts the process and waits until it answers."""
        if self._prepared and not self.data_dir.exists():
            prepared_cluster.copy_to(self.data_dir)
        self.launch(*more)
        self.target = self.wait_for("process.ready", START_SECONDS)["target"]

    def stop(self) -> None:
        """Ctrl-C; the process ends well and leaves nothing running."""
        assert self.process is not None
        self._leave()
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(STOP_SECONDS)
        assert code == 0, self.told()
        assert servers_of(self.data_dir) == []

    def kill(self) -> None:
        """Kills the process with signal 9; PostgreSQL and Redis live on."""
        assert self.process is not None
        self._leave()
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def restart(self, *more: str) -> None:
        """Stops it and starts it again."""
        self.stop()
        self.start(*more)

    def _leave(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    # -- what it says -------------------------------------------------------------------------------------------------

    @property
    def _out(self) -> Path:
        return self._home / f"out-{self._runs}.log"

    @property
    def _err(self) -> Path:
        return self._home / f"err-{self._runs}.log"

    @property
    def complaints(self) -> str:
        """What this run wrote to stderr."""
        return self._err.read_text()

    def log(self) -> list[dict[str, Any]]:
        """This run's log lines; a last one that is being written is left out."""
        whole, _, _ = self._out.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log lines of an event."""
        return [line for line in self.log() if line["event"] == event]

    def wait_for(self, event: str, seconds: float) -> dict[str, Any]:
        """The first log line of an event."""

        def seen() -> dict[str, Any] | None:
            if found := self.logged(event):
                return found[0]
            assert self.process is not None
            assert self.process.poll() is None, f"ended before {event!r}: {self.told()}"
            return None

        try:
            line: dict[str, Any] = until(seen, seconds, event)
        except AssertionError as late:
            late.add_note(self.told())
            raise
        return line

    def told(self) -> str:
        """The end of all it said."""
        return f"{self._out.read_text()[-3000:]}\n{self.complaints[-3000:]}"

    # -- asking it ----------------------------------------------------------------------------------------------------

    @property
    def channel(self) -> grpc.Channel:
        """A channel to it."""
        if self._channel is None:
            self._channel = grpc.insecure_channel(self.target)
        return self._channel

    @property
    def market(self) -> MarketDataServiceStub:
        """MarketDataService."""
        return MarketDataServiceStub(self.channel)

    @property
    def strategies(self) -> StrategyServiceStub:
        """StrategyService."""
        return StrategyServiceStub(self.channel)

    @property
    def risk(self) -> RiskServiceStub:
        """RiskService."""
        return RiskServiceStub(self.channel)

    @property
    def trading(self) -> TradingServiceStub:
        """TradingService."""
        return TradingServiceStub(self.channel)

    @property
    def books(self) -> PortfolioServiceStub:
        """PortfolioService."""
        return PortfolioServiceStub(self.channel)

    @property
    def ops(self) -> OpsServiceStub:
        """OpsService."""
        return OpsServiceStub(self.channel)

    def run_strategy(self, strategy_id: str, **more: Any) -> None:
        """Creates and starts an ema_cross."""
        create, start = create_and_start(strategy_id, **more)
        self.strategies.CreateStrategy(create)
        self.strategies.StartStrategy(start)

    def come_to_rest(self, seconds: float = 30.0) -> None:
        """Stops all strategies and waits until nothing is in work."""
        running = self.strategies.ListStrategies(
            strategy.ListStrategiesRequest(state="STRATEGY_STATE_RUNNING")
        ).strategies
        for one in running:
            request_id = f"rest-{one.strategy_id}-{one.revision}"
            self.strategies.StopStrategy(
                strategy.StopStrategyRequest(request_id=request_id, strategy_id=one.strategy_id)
            )
        until(lambda: self._rests() and self._rests(), seconds, "rest")

    def _rests(self) -> bool:
        services = self.ops.GetStatus(GetStatusRequest()).services
        work = sum(one.outbox_unpublished for one in services)
        work += sum(
            consumer.lag
            for one in services
            for consumer in one.consumers
            if consumer.consumer not in {"strategy", "portfolio.frames"}  # the market goes on
        )
        return work == 0 and not self.trading.ListOrders(ListOrdersRequest(statuses=OPEN)).orders


async def _stop_servers(data_dir: Path) -> None:
    await EmbeddedPostgres(data_dir).stop()
    await EmbeddedRedis(data_dir).stop()
