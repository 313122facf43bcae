"""One seed from its first second to its verdict."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from time import perf_counter

import structlog
from tests.simulation.asks import Wishes, wished, wishes
from tests.simulation.clerk import Clerk
from tests.simulation.log import SimulatedLog
from tests.simulation.loop import Condition, Process, heard
from tests.simulation.oracle import Oracle
from tests.simulation.oracle_changes import ChangeOracle
from tests.simulation.services import ACCOUNT, BROKER, TOPICS, Mesh, Parts
from tests.simulation.world import NOON, Faults, Line, Violation, World
from tests.values import replace

from alphapanda.contract.wire import envelope, signal_event
from alphapanda.domain import ids
from alphapanda.domain.order import Product, TradingState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.trading.core.order_record import order_id_of
from panda.common.v1 import common_pb2
from panda.events.v1 import control_pb2
from panda.risk.v1 import risk_pb2

STRATEGIES = ("ema-1", "ema-2")
REST_WITHIN = 600.0
"""Virtual seconds in which everything has come to rest once nothing goes wrong any more."""
CLEAR_SECONDS = 60.0
"""Between two times at which all orders are cancelled in the end."""
COVERED_SECONDS = 10.0
"""How long protected positions are watched in peace once they have their stops."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a seed.

    Attributes:
        seed: which.
        trace: a digest of all that happened.
        violations: invariants that don't hold.
        story: every line.
        faults: how many of each kind.
        orders: how many there were.
        calls: of the broker.
        virtual: seconds that went by.
        seconds: it took.
    """

    seed: int
    trace: str
    violations: tuple[Violation, ...]
    story: tuple[Line, ...]
    faults: dict[str, int]
    orders: int
    calls: int
    virtual: float
    seconds: float

    def in_short(self) -> Outcome:
        """Without the story; the seed tells it again."""
        return replace(self, story=())

    def told(self, most: int = 400) -> str:
        """The story for a reader: its last lines, and what was violated."""
        lines = [line.text() for line in self.story[-most:]]
        return "\n".join([*lines, "", *(f"VIOLATED  {violation}" for violation in self.violations)])


def plan(world: World, chance: Random) -> list[tuple[float, Signal]]:
    """The signals of a seed: when each is made, in the order of their making."""
    busy = 30.0 + chance.random() * 60.0
    times = sorted(chance.random() * busy for _ in range(6 + int(chance.random() * 12)))
    planned = []
    for number, at in enumerate(times, 1):
        strategy, token = chance.choice(STRATEGIES), chance.choice((1, 2, 3))
        now = NOON + timedelta(milliseconds=int(at * 1000))
        frame = ids.derived_id("simulated frame", number)
        signal = Signal(
            signal_id=ids.derived_id("simulated signal", number),
            correlation_id=frame,
            causation_id=frame,
            key=PositionKey(BROKER, ACCOUNT, strategy, f"NSE:S{token}", Product.MIS),
            instrument_token=token,
            config_revision=1,
            target=chance.choice((-30, -10, 0, 10, 20, 50)),
            side=None,
            quantity=None,
            terms=AT_MARKET,
            market_time=now,
            valid_until=now + timedelta(seconds=chance.choice((20, 60, 600))),
        )
        name(world, number, signal)
        planned.append((at, signal))
    return planned


def name(world: World, number: int, signal: Signal) -> None:
    """Short names of what follows from a signal, for the story."""
    order_id = order_id_of(signal.signal_id)
    world.names[signal.signal_id] = f"signal-{number}"
    world.names[order_id] = f"order-{number}"
    for part in range(8):
        intent = ids.output_id("trading", order_id, "intent", part)
        world.names[ids.intent_tag(intent)] = f"tag-{number}.{part}"
        world.names[ids.output_id("trading", intent, "adopted")] = f"adopted-{number}.{part}"


class Scenario:
    """A seed's run.

    Args:
        seed: which.
        parts: the classes under test.
        faults: what goes wrong; None: the seed's own mixture.
        wish: what is asked for beside targets at the market; None: the seed's own.
    """

    def __init__(self, seed: int, parts: Parts, faults: Faults | None, wish: Wishes | None = None) -> None:
        self.seed = seed
        self.world = world = World(seed, faults)
        self.oracle = Oracle(world)
        visibility = world.chance.choice((5.0, 30.0, 120.0))
        self.wishes = wishes(seed) if wish is None else wish
        self.mesh = Mesh(
            world,
            parts,
            self.oracle.committed,
            visibility,
            simulated=world.chance.random() < 0.5,
            protects=bool(self.wishes.protects),
        )
        self.mesh.exchange.truthful = self.wishes.any
        self.oracle.mesh = self.mesh
        self.oracle.changes = ChangeOracle(world, self.mesh)
        self._desk = Random(f"desk {seed}")
        self.clerk = Clerk(world, self.mesh, self._desk)
        self.plan = [
            (at, wished(signal, self.wishes, self._desk, self.mesh.market.price))
            for at, signal in plan(world, world.chance)
        ]
        self.strategies: Sequence[str] = STRATEGIES
        self.operated = 0.4
        self._published = 0

    def run(self) -> Outcome:
        """Runs it."""
        began = perf_counter()
        world = self.world
        asyncio.set_event_loop(world.loop)
        try:
            world.loop.run_until_complete(world.loop.spawn(world.outside, self._run()))
        finally:
            outcome = Outcome(
                self.seed,
                world.trace(),
                tuple(world.violations),
                tuple(world.story),
                dict(world.counts),
                len(self.mesh.trading_store._tables.orders),
                len(self.mesh.exchange.calls),
                world.loop.time(),
                perf_counter() - began,
            )
            self._clear_away()
        return outcome

    async def _run(self) -> None:
        world, mesh = self.world, self.mesh
        for strategy in self.strategies:
            mesh.log.append([to_record(_running(strategy), TOPICS)])
        world.run("risk-1", mesh.start_risk)
        world.run("risk-2", mesh.start_risk)
        world.run("trading-1", mesh.start_trading)
        world.run("trading-2", mesh.start_trading)
        world.run("portfolio-1", mesh.start_portfolio)
        world.run("strategy-1", self._start_strategy)
        changing = world.loop.spawn(
            world.outside, self.clerk.works(self.wishes.changes, [at for at, _ in self.plan])
        )
        operating = world.loop.spawn(world.outside, self._operate()) if world.happens(self.operated) else None
        await asyncio.sleep(self.plan[-1][0] + world.chance.random() * 60)
        world.at_peace()
        world.tell("nothing goes wrong from now on")
        while world.anybody_frozen():  # noqa: ASYNC110 - virtual seconds cost nothing
            await asyncio.sleep(1.0)
        if operating:
            await operating
        await changing
        if self.wishes.any:
            await self._protected()
            await self.clerk.clears()
            self.mesh.exchange.close()
        await self._rest()
        self.oracle.prove([signal for _, signal in self.plan])

    # -- who acts -----------------------------------------------------------------------------------------------------

    async def _start_strategy(self, process: Process) -> None:
        """Stands for strategy: signals in order, each published until the log has it, some again after a restart."""
        self.world.loop.spawn(process, self._signal())

    async def _signal(self) -> None:
        world, log = self.world, SimulatedLog(self.mesh.log)
        for number, (at, signal) in enumerate(self.plan[self._published :], self._published):
            await asyncio.sleep(max(0.0, at - world.loop.time()))
            while True:
                try:
                    await log.publish(
                        [to_record(signal_event(signal, "strategy", world.wall_clock()), TOPICS)]
                    )
                    break
                except LogUnavailable:
                    await asyncio.sleep(0.2)
            world.tell(
                f"{world.named(signal.signal_id)}: {signal.key.strategy_id} {signal.key.instrument_id} -> {signal.target}"
            )
            if number % 3 == 0:
                self._published = number
        self._published = len(self.plan)

    async def _operate(self) -> None:
        """A person who sets the kill switch, waits for the answer, and lifts it again."""
        world, end = self.world, self.plan[-1][0]
        await asyncio.sleep(world.chance.random() * end * 0.7)
        state = world.chance.choice((TradingState.REDUCING, TradingState.HALTED, TradingState.HALTED))
        await self._set(state)
        await asyncio.sleep(1 + world.chance.random() * end * 0.5)
        await self._set(TradingState.ACTIVE)

    async def _set(self, state: TradingState) -> None:
        world = self.world
        request = risk_pb2.SetKillSwitchRequest(
            request_id=f"{state.name}",
            broker=BROKER,
            state=common_pb2.TradingState.ValueType(state),
            reason="test",
        )
        if state is not TradingState.HALTED:
            self.oracle.halted = False
        world.tell(f"operator: {state.name}, please")
        while True:
            up = [pair for pair in self.mesh.kill_switches.values() if pair[0].condition is Condition.RUNNING]
            if up:
                process, switches = world.chance.choice(up)
                asked = world.loop.spawn(process, switches.set("operator", request))
                asked.add_done_callback(heard)
                done, _ = await asyncio.wait([asked], timeout=15.0)
                if (
                    done
                    and not asked.cancelled()
                    and asked.exception() is None
                    and asked.result().acknowledged_by_trading
                ):
                    world.tell(f"operator: {state.name} is confirmed")
                    self.oracle.halted = state is TradingState.HALTED
                    return
            await asyncio.sleep(1.0)

    # -- the end ------------------------------------------------------------------------------------------------------

    async def _protected(self) -> None:
        """In peace protected positions come to have their stops, and keep them for a while."""
        oracle, covered = self.oracle, 0.0
        while self.mesh.protects and covered < COVERED_SECONDS:
            await asyncio.sleep(1.0)
            assert oracle.changes is not None
            covered = 0 if oracle.changes.look(halted=oracle.halted) else covered + 1

    async def _rest(self) -> None:
        """Waits until nothing is under way any more."""
        deadline = self.world.loop.time() + REST_WITHIN
        still, clears = 0, self.world.loop.time() + CLEAR_SECONDS
        while still < 2:
            if self.world.loop.time() > deadline:
                self.world.violated("everything comes to rest", "; ".join(self._under_way()))
                return
            await asyncio.sleep(2.0)
            still = 0 if self._under_way() else still + 1
            if self.wishes.any and self.world.loop.time() > clears:  # what was approved meanwhile rests, too
                clears += CLEAR_SECONDS
                await self.clerk.clears()
                self.mesh.exchange.close()

    def _under_way(self) -> list[str]:
        mesh, found = self.mesh, []
        if self._published < len(self.plan):
            found.append("signals to be published")
        found += [
            f"{group.lag()} records of {name}" for name, group in mesh.log.groups.items() if group.lag()
        ]
        found += [
            f"{db.outbox.pending()} events of {db.schema}" for db in mesh.databases if db.outbox.pending()
        ]
        open_orders = [
            self.world.named(stored.order.order_id)
            for stored in mesh.trading_store._tables.orders.values()
            if not stored.order.status.is_final
        ]
        if self.oracle.changes is not None:
            found += self.oracle.changes.unresolved()
        if mesh.exchange.late_trades:
            found.append(f"{mesh.exchange.late_trades} late trades")
        if late := self.oracle.late_arrivals_to_come():
            found.append(f"{late} late arrivals")
        if open_orders:
            found.append(f"open: {', '.join(open_orders)}")
        return found

    def _clear_away(self) -> None:
        world = self.world
        for machine in world.machines.values():
            if machine.process:
                machine.process.condition = Condition.DEAD
                world.loop.kill(machine.process)
        world.outside.condition = Condition.DEAD
        world.loop.kill(world.outside)
        asyncio.set_event_loop(None)
        world.loop.close()


def _running(strategy: str) -> object:
    event = envelope(
        event_id=ids.derived_id("running", strategy),
        correlation_id=ids.derived_id("running", strategy),
        causation_id="",
        broker="",
        source="strategy",
        occurred_at=NOON,
    )
    event.strategy_changed.CopyFrom(
        control_pb2.StrategyChanged(
            strategy_id=strategy,
            revision=1,
            state=control_pb2.STRATEGY_STATE_RUNNING,
            strategy_type="ema_cross",
            brokers=[BROKER],
            account=ACCOUNT,
            quantity=10,
            product=common_pb2.PRODUCT_MIS,
            signal_ttl_seconds=60,
        )
    )
    return event


def run_seed(seed: int, parts: Parts = Parts(), faults: Faults | None = None) -> Outcome:  # noqa: B008 - immutable
    """Runs a seed; the same seed does the same, in any process."""
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        with quiet():
            return Scenario(seed, parts, faults).run()
    finally:
        if was_collecting:
            gc.enable()


@contextmanager
def quiet() -> Iterator[None]:
    """The story says what happened; the services' own log lines would only slow it down."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
