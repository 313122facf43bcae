"""Strategies that read their position: killed anywhere, and told of their orders whenever, they say the same again."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from decimal import Decimal

import pytest
from tests.integration.strategy.test_consumer import NO_FATE, NOW, TOKENS, Fate, Killed, World, config
from tests.unit.strategy.test_holdings import Careful
from tests.values import replace

from alphapanda.contract.order_wire import order_event
from alphapanda.contract.wire import signal_from
from alphapanda.domain import ids
from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Side
from alphapanda.domain.order_events import Failed, Fill, Filled, OrderState, Submitted
from alphapanda.domain.terms import AT_MARKET
from alphapanda.eventlog.decode import from_record, to_record
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.strategy import Stance, Wish
from alphapanda.strategy.core.config import StrategyState
from alphapanda.strategy.core.revision_state import revision_state


class Exchange:
    """Trades what strategies wish, now or some steps later, in parts or not at all; tells it in disorder, some of it twice."""

    def __init__(self, world, seed):
        self.world, self.random = world, random.Random(seed)
        self.positions = Counter()
        self.busy = set()
        self.seen = set()
        self.read = {}
        self.due = defaultdict(list)

    async def new_signals(self):
        """Those that came since this was asked last, each once."""
        topics = self.world.topic_map.topics("trading_signal")
        reader = self.world.log.topic_reader(topics, self.read)
        await reader.start()
        ends = await self.world.log.end_offsets(topics)
        while any(reader.position(at) < end for at, end in ends.items()):
            for record in await reader.fetch(1000, 1.0):
                signal = signal_from(from_record(record, self.world.topic_map))
                if signal.signal_id not in self.seen:
                    self.seen.add(signal.signal_id)
                    yield signal
        self.read = ends
        await reader.stop()

    async def trade(self, step, *, closed=False):
        async for signal in self.new_signals():
            moved = 0 if closed else signal.target - self.positions[signal.key]
            if moved and signal.key not in self.busy:
                self.busy.add(signal.key)
                self.order(signal, moved, step)
        told = self.due.pop(step, [])
        for ended in [key for key, update in told if update is None]:
            self.busy.discard(ended)
        events = [self.event(update) for _, update in told if update is not None]
        self.random.shuffle(events)
        events += [event for event in events if self.random.random() < 0.2]
        await self.world.log.publish([to_record(event, self.world.topic_map) for event in events])

    def order(self, signal, moved, step):
        units, filled, revision = abs(moved), 0, 1
        price = Decimal(self.world.prices[signal.instrument_token]) / 100

        def state(status) -> OrderState:
            return OrderState(
                ids.derived_id(signal.signal_id, "order"), signal.signal_id, signal.key, signal.instrument_token,
                Side.of(moved), units, AT_MARKET, PositionEffect.OPENS, status, revision, filled,
                0 if status.is_final else units - filled, price if filled else None, None,
            )  # fmt: skip

        def tell(update):
            self.due[step].append((signal.key, update))

        if self.random.random() < 0.9:
            tell(Submitted(state(OrderStatus.OPEN)))
        ends = self.random.choice((units, units, units, units // 2, 0))
        parts = [part for part in (ends // 3, ends - ends // 3) if part]
        for part in parts:
            step += self.random.choice((0, 0, 1, 3))
            filled, revision = filled + part, revision + 1
            self.positions[signal.key] += part if moved > 0 else -part
            fill = Fill(
                ids.derived_id(signal.signal_id, revision), str(revision), part, price, Decimal(0), NOW
            )
            tell(Filled(state(OrderStatus.FILLED if filled == units else OrderStatus.PARTIALLY_FILLED), fill))
        if filled < units:
            step += self.random.choice((0, 1))
            revision += 1
            tell(Failed(state(OrderStatus.FAILED), FailureReason.BROKER_REJECTED, "no more"))
        step += 1
        tell(None)

    def event(self, update):
        order = update.order
        event_id = ids.derived_id(order.order_id, order.revision)
        return order_event(
            update, event_id=event_id, correlation_id=event_id, causation_id=event_id, source="trading",
            occurred_at=NOW,
        )  # fmt: skip


@pytest.fixture
def make_world(tmp_path, postgres_store, directory, topic_map):
    return lambda *fate: World(tmp_path, postgres_store, directory, topic_map, Fate(*(fate or NO_FATE)))


async def held(world, strategy_id) -> dict:
    """Units that the strategy was told it holds, by (broker, instrument), as of the last snapshots."""
    found = {}
    for partition in range(4):
        for snapshot in await world.store.snapshots(partition):
            if snapshot.config.strategy_id == strategy_id:
                for broker, instrument_id, holding in revision_state(snapshot.state).holdings or ():
                    found[broker, instrument_id] = holding[0]
    return found


def traded(exchange, strategy_id) -> dict:
    return {
        (key.broker, key.instrument_id): units
        for key, units in exchange.positions.items()
        if key.strategy_id == strategy_id
    }


@pytest.mark.parametrize(
    ("seed", "kills", "outages"),
    [(0, 0.0, 0.0), (2, 0.05, 0.06), (3, 0.01, 0.15)],
)
async def test_a_kill_anywhere_changes_no_signal_of_who_reads_its_position(
    make_world, seed, kills, outages
) -> None:
    """The signals are those of one walk over the ticks with the recorded inputs between them, and each knows what it has.

    One is changed, stopped and started and gets other instruments meanwhile: it is told of orders from before.
    """
    world = make_world(seed, kills, outages)
    world.repeats, world.batch_size = 0.2, 6  # a restart takes several batches to get where it was
    exchange = Exchange(world, seed)
    first = config("careful", range(1, 21), strategy_type="careful", brokers=("zerodha",))
    first = replace(first, parameters={})
    script = {
        1: config("a", range(1, 11)),
        3: first,
        14: replace(first, revision=2, quantity=20),
        22: replace(first, revision=3, state=StrategyState.STOPPED),
        27: replace(first, revision=4, instruments=config("careful", range(5, 31)).instruments),
    }

    async def both():
        await world.hear()
        await world.work()

    try:
        await world.begin()
    except (Killed, LogUnavailable):
        await world.die()
        await world.survive(lambda: (_ for _ in ()).throw(Killed()))
    for step in range(1, 46):
        await world.feed()
        await exchange.trade(step)
        if step in script:
            await world.change(script[step])
        if step % 3:
            await world.survive(both)
    world.fate._kills = world.fate._outages = 0.0
    for step in range(46, 60):  # what is on its way comes to its end
        await world.feed()
        await exchange.trade(step, closed=True)
        await both()
    assert not any(exchange.due.values())
    signals, _ = await world.published()
    assert signals == await world.recomputed()
    careful = [s for s in signals.values() if s.key.strategy_id == "careful"]
    assert {s.config_revision for s in careful} == {1, 2, 4}
    assert {s.reason for s in careful} == {"flat", "stop"}
    assert {s.key.strategy_id for s in signals.values()} == {"a", "careful"}
    assert bool(kills) == (world.lives > 2)
    await world.reader.stop()
    known, true = await held(world, "careful"), traded(exchange, "careful")
    assert {f"NSE:S{token}" for token in range(5, 31)} == {name for _, name in known}
    assert known == {place: true.get(place, 0) for place in known}
    assert sum(map(bool, known.values())) >= 10
    assert await held(world, "a") == {}
    await world.log.stop()


async def test_who_reads_no_position_costs_no_record(make_world) -> None:
    """Nothing of orders is stored or read where no strategy asks for it."""
    world = make_world()
    exchange = Exchange(world, 1)
    await world.begin()
    await world.change(config("a", TOKENS))
    for step in range(1, 12):
        await world.feed()
        await exchange.trade(step)
        await world.work()
    assert exchange.positions
    assert world.inputs == []
    for partition in range(4):
        assert await world.store.inputs(partition) == (None, [])
    await world.log.stop()


async def test_what_all_snapshots_hold_is_forgotten(make_world) -> None:
    """Recorded inputs are kept as long as a restart may need them, no longer."""
    world = make_world()
    exchange = Exchange(world, 1)
    await world.begin()
    await world.change(replace(config("careful", TOKENS, strategy_type="careful"), parameters={}))
    for step in range(1, 12):
        await world.feed()
        await exchange.trade(step)
        await world.work()
    assert len(world.inputs) > 40
    await world.reader.stop()
    for partition in range(4):
        positions, inputs = await world.store.inputs(partition)
        assert positions
        assert not inputs
    await world.log.stop()


class Blind(Careful):
    """Careful as it was before it read its position."""

    wants_position = False

    def on_tick(self, price, time_ns):
        self.ticks += 1
        return Wish(Stance.LONG, "always") if self.ticks % 2 else None


async def test_a_strategy_whose_code_reads_its_position_from_now_on_knows_what_it_has(make_world) -> None:
    """Changed under its revision, it is told at the next start of all its orders before; a kill changes nothing then."""
    world = make_world()
    exchange = Exchange(world, 1)
    world.types = (Blind,)
    await world.begin()
    await world.change(replace(config("careful", TOKENS, strategy_type="careful"), parameters={}))
    for step in range(1, 9):
        await world.feed()
        await exchange.trade(step)
        await world.work()
    await world.reader.stop()
    assert await held(world, "careful") == {}
    await world.die()
    world.types = (Careful,)
    for step in range(9, 20):
        await world.begin()
        await exchange.trade(step, closed=True)
        for _ in range(2):  # what was there at the start is handled with nothing new
            await world.feed()
            await world.work()
        if step < 19:
            await world.die()
    await world.reader.stop()
    known = await held(world, "careful")
    assert known == {place: traded(exchange, "careful").get(place, 0) for place in known}
    assert sum(map(bool, known.values())) >= 10
    await world.log.stop()
