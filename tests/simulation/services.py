"""The services as processes: the classes that production runs, on the simulated adapters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import time, timedelta
from decimal import Decimal
from random import Random
from typing import Any, cast

import grpc
import structlog
from tests.in_memory.portfolio_store import InMemoryPortfolioStore
from tests.in_memory.risk_store import MemoryRiskStore
from tests.in_memory.trading_store import MemoryTradingStore
from tests.simulation.database import Connection, Database, OnCommit
from tests.simulation.exchange import Exchange
from tests.simulation.log import LogServer, SimulatedLog
from tests.simulation.loop import Condition, Process, heard
from tests.simulation.market import Market, Mirror
from tests.simulation.outbox import RelayEngine
from tests.simulation.trader import SimulatedTrader
from tests.simulation.world import World
from typing_extensions import override

from alphapanda.consuming.consumer import ReliableConsumer
from alphapanda.consuming.dead_letters import DeadLetters
from alphapanda.consuming.delivery import Handler
from alphapanda.consuming.follower import TopicFollower
from alphapanda.consuming.known_strategies import KnownStrategies
from alphapanda.consuming.options import ConsumerOptions
from alphapanda.contract.topics import TopicMap
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.funds import FundsTerms, no_charges
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.margin import load_margin_model
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.eventlog.port import Assignment, Start
from alphapanda.portfolio import consumer as portfolio_topics
from alphapanda.portfolio.consumer import PortfolioConsumer
from alphapanda.portfolio.manager import PortfolioManager
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.tasks import kept_running
from alphapanda.risk import consumer as risk_topics
from alphapanda.risk import strategy_statuses as strategy_statuses_topic
from alphapanda.risk.consumer import OrderEventHandler, RawSignalHandler
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.decision_inputs import DecisionInputs
from alphapanda.risk.decision_service import DecisionService
from alphapanda.risk.kill_switches import KillSwitches
from alphapanda.risk.strategy_statuses import StrategyStatuses
from alphapanda.risk.superseding import SupersededOrders
from alphapanda.storage.relay import OutboxRelay
from alphapanda.trading import consumer as trading_topics
from alphapanda.trading.api import TradingApi
from alphapanda.trading.change_commands import ChangeCommands
from alphapanda.trading.consumer import TradingAssignment, TradingConsumer
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.execution_context import OPT_IN_PAYLOAD, ExecutionContext, OptIns
from alphapanda.trading.executor import OrderExecutor
from alphapanda.trading.hints import OrderHints
from alphapanda.trading.late_arrivals import LateArrivals
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.order_changes import OrderChanges
from alphapanda.trading.protection_commands import ProtectionCommands
from alphapanda.trading.protections import Protections
from alphapanda.trading.traders.isolation import IsolatedTraders
from alphapanda.trading.traders.trader import ExecutionMode
from panda.events.v1.events_pb2 import Event
from panda.trading.v1 import trading_pb2

_log = structlog.get_logger(__name__)
BROKER = "paper"
ACCOUNT = "default"
STARTING_CASH = Decimal(1_000_000)
CALENDAR = load_nse_calendar()
INSTRUMENTS = InstrumentDirectory(
    Instrument(
        f"NSE:S{token}", token, "NSE", f"S{token}", f"Share {token}", "NSE", "EQ", Decimal("0.05"), 1, 20,
        CALENDAR.segments[0],
    )
    for token in (1, 2, 3)
)  # fmt: skip
POLICY = ConsumerOptions(batch_size=8, backoff_initial_seconds=0.1, backoff_max_seconds=3.0)
TRADING = TradingOptions(send_window_seconds=2, call_timeout_seconds=5)
FUNDS = FundsTerms(load_margin_model(), Decimal(0), no_charges)
LIMITS = Limits(
    timedelta(seconds=30), time(15, 0), {"max_order_quantity": 5_000, "max_position_quantity": 5_000}
)
TOPICS = TopicMap([BROKER])
LATE_SECONDS = 15.0
"""Between two rounds that look for late arrivals."""
PROTECTION_SECONDS = 2.0
"""Between two looks at the prices of protected positions."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The classes under test; a mutation test puts a broken one in the place of one of them."""

    executor: type[OrderExecutor] = OrderExecutor
    consumer: type[ReliableConsumer] = ReliableConsumer
    relay: type[OutboxRelay] = OutboxRelay
    signal_handler: type[RawSignalHandler] = RawSignalHandler
    trading_consumer: type[TradingConsumer] = TradingConsumer
    trading_assignment: type[TradingAssignment] = TradingAssignment
    changes: type[OrderChanges] = OrderChanges
    protections: type[Protections] = Protections


class Rpc(grpc.aio.AioRpcError):
    """A call that got no answer."""

    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "no answer")


@dataclass
class Mesh:
    """What all processes share, and how each is started."""

    world: World
    parts: Parts
    on_commit: OnCommit
    visibility: float
    simulated: bool
    protects: bool = False
    trading_rpcs: dict[str, tuple[Process, TradingApi]] = field(default_factory=dict)
    kill_switches: dict[str, tuple[Process, KillSwitches]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        world = self.world
        self.log = LogServer(world, TOPICS.specs())
        self.mirror = Mirror(world)
        self.market = Market(world, self.mirror)
        self.exchange = Exchange(world, BROKER, self.market, self.visibility)
        self.risk_store = MemoryRiskStore({BROKER: STARTING_CASH})
        self.trading_store = MemoryTradingStore(world.wall_clock)
        self.portfolio_store = InMemoryPortfolioStore()
        risk_events = _Appended(self.risk_store.events.values)
        trading_events = _Appended(lambda: self.trading_store.events)
        self.risk = Database(world, "risk", self.risk_store, risk_events, self.on_commit, TOPICS)
        self.trading = Database(world, "trading", self.trading_store, trading_events, self.on_commit, TOPICS)
        self.portfolio = Database(
            world, "portfolio", self.portfolio_store, lambda: (), self.on_commit, TOPICS
        )
        self.databases = (self.risk, self.trading)

    # -- the processes ------------------------------------------------------------------------------------------------

    async def start_risk(self, process: Process) -> None:
        """Risk."""
        world, log = self.world, SimulatedLog(self.log)
        store = cast(
            "Any", Connection(self.risk, ["unit"], ["prepare"], ["set_kill_switch", "save_if_unchanged"])
        )
        strategy_statuses = StrategyStatuses(10.0, world.boot_clock)
        inputs = DecisionInputs(
            self.market, lambda: INSTRUMENTS, CALENDAR, LIMITS, strategy_statuses, funds={BROKER: FUNDS}
        )
        superseded = SupersededOrders(store, cast("Any", _TradingStub(self)), [BROKER])
        decisions = DecisionService(store, inputs, world.wall_clock, superseded=superseded.note)
        switches = KillSwitches(
            store, cast("Any", self.mirror), _TradingStub(self), [BROKER], world.wall_clock
        )
        await self._follow(log, "risk", strategy_statuses_topic.PAYLOAD, strategy_statuses.apply)
        await switches.start()
        self.kill_switches[process.name] = (process, switches)
        await self._relay(log, self.risk)
        await self._consume(
            log,
            "risk",
            "risk.orders",
            risk_topics.ORDER_PAYLOADS,
            OrderEventHandler(decisions, superseded.cancel),
        )
        await superseded.rounds.start()
        signals = self.parts.signal_handler(decisions, make_way=superseded.cancel)
        await self._consume(log, "risk", "risk.signals", risk_topics.SIGNAL_PAYLOADS, signals)

    async def start_trading(self, process: Process) -> None:
        """Trading."""
        world, log = self.world, SimulatedLog(self.log)
        store = cast(
            "Any", Connection(self.trading, ["transaction"], ["next_epoch"], ["add_if_unchanged", "save"])
        )
        mode = ExecutionMode.PAPER if self.simulated else ExecutionMode.LIVE
        isolated = IsolatedTraders(
            {BROKER: SimulatedTrader(world, self.exchange, mode)}, TRADING.call_timeout_seconds
        )
        traders = isolated.by_broker
        await isolated.start()
        opt_ins, router = OptIns(), ExecutionRouter([BROKER])
        context = ExecutionContext(
            store, traders, self.market, lambda: INSTRUMENTS, world.boot_clock, world.wall_clock
        )
        executor = self.parts.executor(
            context,
            PreSubmitChecks(router, opt_ins, CALENDAR, timedelta(seconds=30)),
            TRADING,
        )
        nothing = cast("Any", None)
        changes = self.parts.changes(context, executor.driver, TRADING)
        commands = ChangeCommands(
            store, changes, self.market, CALENDAR, lambda: INSTRUMENTS, world.wall_clock
        )
        protections = self.parts.protections(context, executor.driver, changes, CALENDAR, PROTECTION_SECONDS)
        executor.driver.protections = protections
        api = TradingApi(
            store, executor, nothing, commands, ProtectionCommands(store, protections, lambda: INSTRUMENTS), nothing,
            nothing, traders, router, self.market, CALENDAR, lambda: INSTRUMENTS, KnownStrategies(), ACCOUNT,
            world.wall_clock, nothing,
        )  # fmt: skip
        await self._follow(log, "trading", OPT_IN_PAYLOAD, opt_ins.learn)
        hints = _Hints(store, executor.driver, traders.values())
        hints.chance = Random(f"hints {world.seed} {process}").random
        await executor.start()
        await changes.start()
        await hints.start()
        if self.protects:
            await protections.rounds.start()
        await LateArrivals(context, LATE_SECONDS).rounds.start()
        self.trading_rpcs[process.name] = (process, api)
        await self._relay(log, self.trading)
        manual = cast("Any", _NoManualOrders())
        handler = self.parts.trading_consumer(executor, manual)
        await self._consume(
            log,
            "trading",
            trading_topics.GROUP,
            trading_topics.PAYLOADS,
            handler,
            self.parts.trading_assignment(executor, manual, changes),
        )

    async def start_portfolio(self, process: Process) -> None:
        """Portfolio."""
        log = SimulatedLog(self.log)
        store = cast("Any", Connection(self.portfolio, ["unit"], ["open_account"]))
        manager = PortfolioManager({BROKER: STARTING_CASH}, ACCOUNT, store, self.market, lambda: INSTRUMENTS)
        await manager.start()
        consumer = PortfolioConsumer(manager, store)
        await self._consume(log, "portfolio", portfolio_topics.GROUP, portfolio_topics.PAYLOADS, consumer)

    # -- within -------------------------------------------------------------------------------------------------------

    async def _consume(
        self,
        log: SimulatedLog,
        service: str,
        group: str,
        payloads: Sequence[str],
        handler: Handler,
        assignment: Assignment | None = None,
    ) -> None:
        consumer = self.parts.consumer(
            name=group,
            service=service,
            log=cast("Any", log),
            reader=log.group_reader(group, TOPICS.topics(*payloads), Start.EARLIEST),
            topic_map=TOPICS,
            handler=handler,
            assignment=assignment,
            dead_letters=DeadLetters(cast("Any", log)),
            policy=POLICY,
            chance=self.world.chance.random,
            wall_clock=self.world.wall_clock,
        )
        await consumer.start()

    async def _follow(
        self, log: SimulatedLog, service: str, payload: str, learn: Callable[[Event], Any]
    ) -> None:
        follower = TopicFollower(
            name=f"{service}.strategies",
            service=service,
            log=cast("Any", log),
            topic_map=TOPICS,
            payload=payload,
            on_event=learn,
            start=Start.EARLIEST,
            policy=POLICY,
            chance=self.world.chance.random,
            wall_clock=self.world.wall_clock,
        )
        await follower.start()

    async def _relay(self, log: SimulatedLog, database: Database) -> None:
        relay = self.parts.relay(
            engine=cast("Any", RelayEngine(self.world, database.schema, database.outbox)),
            outbox=cast("Any", _Schema(database.schema)),
            log=cast("Any", log),
            batch_size=POLICY.batch_size,
            backoff=Backoff(
                POLICY.backoff_initial_seconds, POLICY.backoff_max_seconds, self.world.chance.random
            ),
            wall_clock=self.world.wall_clock,
        )
        await relay.start()


class _Hints(OrderHints):
    """Hints whose pauses after a failure are the seed's."""

    chance: Callable[[], float]

    @override
    async def start(self) -> None:
        self._task = kept_running(self._run, "hints", _log, Backoff(0.1, 10.0, self.chance))


class _NoManualOrders:
    """Nobody places orders by hand here."""

    async def resume(self) -> None:
        """There is none to resume."""


@dataclass(frozen=True, slots=True)
class _Schema:
    """What the relay asks of an outbox: its name, to be woken, and to throw old rows away."""

    schema: str

    def relayed_here(self, _: object) -> None:
        """Every commit is heard by its NOTIFY."""

    async def purge(self, *_: object) -> int:
        """Nothing grows old in a simulation."""
        return 0


class _Appended:
    """A growing sequence, kept as a list so that a relay's look at it costs nothing."""

    def __init__(self, whole: Callable[[], Any]) -> None:
        self._whole = whole
        self._kept: list[Event] = []

    def __call__(self) -> list[Event]:
        whole = self._whole()
        if len(whole) > len(self._kept):
            self._kept += list(whole)[len(self._kept) :]
        return self._kept


class _TradingStub:
    """Risk's way to one of the trading processes."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._called = 0

    async def ApplyKillSwitch(  # noqa: N802 - the contract's name
        self, request: trading_pb2.ApplyKillSwitchRequest, /, *, timeout: float | None = None
    ) -> trading_pb2.ApplyKillSwitchResponse:
        """Round robin over those that are up; what isn't answered in time is an error."""
        return cast(
            "trading_pb2.ApplyKillSwitchResponse", await self._ask("ApplyKillSwitch", request, timeout)
        )

    async def GetKillSwitchCopies(  # noqa: N802 - the contract's name
        self, request: trading_pb2.GetKillSwitchCopiesRequest, /, *, timeout: float | None = None
    ) -> trading_pb2.GetKillSwitchCopiesResponse:
        """As ApplyKillSwitch."""
        return cast(
            "trading_pb2.GetKillSwitchCopiesResponse",
            await self._ask("GetKillSwitchCopies", request, timeout),
        )

    async def MakeWay(  # noqa: N802 - the contract's name
        self, request: trading_pb2.MakeWayRequest, /, *, timeout: float | None = None
    ) -> trading_pb2.MakeWayResponse:
        """As ApplyKillSwitch."""
        return cast("trading_pb2.MakeWayResponse", await self._ask("MakeWay", request, timeout))

    async def _ask(self, method: str, request: Any, timeout: float | None) -> Any:
        world = self._mesh.world
        up = [
            (process, api)
            for process, api in self._mesh.trading_rpcs.values()
            if process.condition is not Condition.DEAD
        ]
        if not up:
            raise Rpc
        self._called += 1
        process, api = up[self._called % len(up)]

        def handled() -> asyncio.Future[Any]:
            handling = world.loop.spawn(process, getattr(api, method)(request, cast("Any", None)))
            handling.add_done_callback(heard)
            return handling

        handling = await world.request(method, handled, lambda _: Rpc())
        done, _ = await asyncio.wait([handling], timeout=timeout)
        if not done or handling.cancelled() or handling.exception() is not None:
            raise Rpc
        return handling.result()
