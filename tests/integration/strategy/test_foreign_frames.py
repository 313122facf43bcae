"""Strategies that see several instruments, on a real log and a real database: killed anywhere, they make the same signals."""

from __future__ import annotations

import random

import pytest
from tests.integration.strategy.test_consumer import (
    CALENDAR,
    NO_FATE,
    NOW,
    SHARDS,
    Fate,
    Killed,
    Noting,
    World,
    config,
)
from tests.values import replace

from alphapanda.contract.topics import shard_of
from alphapanda.contract.wire import frame_from, signal_event, signal_from
from alphapanda.domain.order import Product
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.eventlog.decode import from_record
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.strategy import BarParameters, BasketStrategy, Stance, Target
from alphapanda.strategy.core.config import StrategyState
from alphapanda.strategy.core.ema_cross import EmaCross
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.partition import restricted


class Ranking(BasketStrategy[BarParameters]):
    """Long the instrument with the highest close, flat the others; remembers all that it was shown, in its order."""

    type_name = "ranking"
    parameters_model = BarParameters

    def __init__(self, parameters, symbols):
        self.shown = 0
        self.closes = {}

    @classmethod
    def warm_up(cls, parameters):  # noqa: ARG003
        return 2

    def on_bar(self, symbol, bar):
        self.shown = (self.shown * 31 + hash((bar.start_ns, round(bar.close * 100)))) % 1_000_003
        self.closes[symbol] = bar.close
        best = max(self.closes, key=self.closes.get)
        return {
            each: Target(Stance.LONG if each == best else Stance.FLAT, f"{self.shown} after {symbol}")
            for each in self.closes
        }


TYPES = (EmaCross, Ranking)


class Ordered(Noting):
    """Notes activations and inputs in the order in which they were stored."""

    async def activate(self, owner, activation, warmed):
        before = await self._store.activations(activation.strategy_id)
        await super().activate(owner, activation, warmed)
        place = activation.revision, activation.partition
        if not any((each.revision, each.partition) == place for each in before):
            self._world.notes.append((owner.partition, activation.next_offset, (activation, warmed.state)))

    async def record_inputs(self, owner, next_offset, events, positions):
        await super().record_inputs(owner, next_offset, events, positions)
        self._world.notes += [(owner.partition, next_offset, event) for event in events]


class BasketWorld(World):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.types, self.notes = TYPES, []
        self.make_store = lambda: Ordered(self.store, self)

    async def recomputed(self):
        """What follows from the ticks and from what is recorded between them, walked through once."""
        records = await self.everything(self.ticks.topics)
        configs = {(c.strategy_id, c.revision): c for c in await self.revisions()}
        signals = []
        for shard in SHARDS:
            router, registry = ExecutionRouter(("paper", "zerodha")), StrategyRegistry(TYPES)
            host, seen = StrategyHost(self.directory, CALENDAR, router, registry, 3), 0
            notes = sorted((note for note in self.notes if note[0] == shard), key=lambda note: note[1])

            def apply_until(offset, host=host, notes=notes, shard=shard):
                while notes and notes[0][1] <= offset:
                    _, _, what = notes.pop(0)
                    if isinstance(what, tuple):
                        activation, state = what
                        chosen = configs[activation.strategy_id, activation.revision]
                        host.configure(restricted(chosen, host, shard), state)
                    else:
                        signals.extend(host.on_foreign_frame(frame_from(what.tick_frame)))

            for record in records:
                frame = frame_from(from_record(record, self.topic_map).tick_frame)
                if record.partition == shard and frame.sequence > seen:
                    seen = frame.sequence
                    apply_until(record.offset)
                    signals.extend(host.on_frame(frame))
            apply_until(float("inf"))
        return {each.signal_id: signal_from(signal_event(each, "strategy", NOW)) for each in signals}


def basket(tokens, **changes):
    made = config("basket", tokens, strategy_type="ranking", product=Product.NRML, **changes)
    return replace(made, parameters={"interval": "1s"})


@pytest.fixture
def make_world(tmp_path, postgres_store, directory, topic_map):
    return lambda *fate: BasketWorld(tmp_path, postgres_store, directory, topic_map, Fate(*(fate or NO_FATE)))


@pytest.mark.parametrize(("seed", "kills", "outages"), [(0, 0.0, 0.0), (2, 0.04, 0.06)])
async def test_a_kill_anywhere_changes_no_signal_of_who_sees_several(
    make_world, seed, kills, outages
) -> None:
    """The signals are those of one walk over the partition's frames with the recorded ones of other partitions between.

    It is changed to other instruments, so that it moves to another partition, stopped and started meanwhile.
    """
    world = make_world(seed, kills, outages)
    world.repeats, world.batch_size = 0.2, 5
    chance = random.Random(seed)
    first, moved = list(range(1, 9)), list(range(12, 4, -1))
    assert shard_of(first[0]) != shard_of(moved[0])
    assert len({shard_of(token) for token in first}) > 2
    script = {
        1: config("a", range(1, 11)),
        3: basket(first),
        22: basket(moved, revision=2),
        34: basket(moved, revision=3, state=StrategyState.STOPPED),
        37: basket(moved, revision=4),
    }

    async def both():
        await world.hear()
        await world.work()

    try:
        await world.begin()
    except (Killed, LogUnavailable):
        await world.die()
        await world.survive(lambda: (_ for _ in ()).throw(Killed()))
    for step in range(1, 48):
        await world.feed()
        if step in script:
            await world.change(script[step])
        if chance.random() < 0.7:
            await world.survive(both)
    world.fate._kills = world.fate._outages = 0.0
    await both()
    signals, times = await world.published()
    assert signals == await world.recomputed()
    ranked = [each for each in signals.values() if each.key.strategy_id == "basket"]
    assert {each.config_revision for each in ranked} == {1, 2, 4}
    assert len(ranked) > 20
    assert {shard_of(each.instrument_token) for each in ranked} > {shard_of(moved[0])}
    assert (world.lives > 2) == bool(kills)
    assert kills or max(times.values()) == 1
    await world.reader.stop()
    await world.log.stop()
