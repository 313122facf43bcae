"""The ticks' handler on a real log and a real database: killed anywhere, it makes the same signals with the same ids."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, date, datetime
from itertools import count

import pytest
import structlog
from sqlalchemy import text
from tests.unit.strategy.test_holdings import Careful
from tests.values import replace

from alphapanda.consuming.delivery import Delivery
from alphapanda.contract.order_wire import order_update_from
from alphapanda.contract.topics import TopicPartition, shard_of
from alphapanda.contract.wire import frame_event, frame_from, signal_event, signal_from
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame
from alphapanda.domain.order import Product
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.eventlog.decode import from_record, to_record
from alphapanda.eventlog.port import LogUnavailable, Start
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.strategy.consumer import GROUP, StrategyAssignment, StrategyTicks
from alphapanda.strategy.core.config import Flattening, StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.ema_cross import EmaCross
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.core.sma_cross import SmaCross
from alphapanda.strategy.core.warm_up import warmed
from alphapanda.strategy.partition import LogBehindSnapshot
from alphapanda.strategy.store.port import Change, StoredStrategy
from alphapanda.strategy.wire import changed_event

CALENDAR = load_nse_calendar()
OPEN_NS = CALENDAR.sessions(date(2024, 1, 15), "NSE_EQ")[0].open_ns
NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
TOKENS = range(1, 41)
SHARDS = sorted({shard_of(token) for token in TOKENS})


class Fragile(EmaCross):
    """Raises where an instrument trades below 80 rupees."""

    type_name = "fragile"

    def on_tick(self, price, time_ns):
        if price < 80:
            raise ValueError(f"{price} is too cheap")
        return super().on_tick(price, time_ns)


class Killed(BaseException):  # no handler of errors may catch it
    """The process died here."""


class Fate:
    """Before and after each awaited call of a port: goes well, is killed, or finds the log away."""

    def __init__(self, seed, kills, outages):
        self._random = random.Random(seed)
        self._kills = kills
        self._outages = outages
        self.met = Counter()

    def strike(self, where):
        drawn = self._random.random()
        if drawn < self._kills:
            self.met[f"killed {where}"] += 1
            raise Killed(where)
        if drawn < self._kills + self._outages:
            self.met[f"away {where}"] += 1
            raise LogUnavailable(where)


class Mortal:
    """A port whose awaited calls named here meet their fate."""

    def __init__(self, port, fate, *names):
        self._port = port
        self._fate = fate
        self._names = names

    def __getattr__(self, name):
        attribute = getattr(self._port, name)
        if name not in self._names:
            return attribute

        async def call(*arguments):
            self._fate.strike(f"before {name}")
            result = await attribute(*arguments)
            self._fate.strike(f"after {name}")
            return result

        return call


TYPES = (EmaCross, SmaCross, Fragile, Careful)


def new_host(directory, types=TYPES) -> StrategyHost:
    registry = StrategyRegistry(types)
    return StrategyHost(directory, CALENDAR, ExecutionRouter(("paper", "zerodha")), registry, max_errors=3)


def config(
    strategy_id, tokens, revision=1, strategy_type="ema_cross", fast=2, slow=5, **changes
) -> StrategyConfig:
    instruments = tuple(StrategyInstrument(f"NSE:S{token}", token) for token in tokens)
    values = {"state": StrategyState.RUNNING, "brokers": (), "quantity": 10, "product": Product.MIS} | changes
    parameters = {"fast": str(fast), "slow": str(slow)}
    return StrategyConfig(
        strategy_id, revision, strategy_type=strategy_type, parameters=parameters, instruments=instruments,
        account="default", signal_ttl_seconds=60, **values,
    )  # fmt: skip


class Noting:
    """A store that notes, of what it has stored, what the signals follow from."""

    def __init__(self, store, world):
        self._store, self._world = store, world

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def activate(self, owner, activation, warmed):
        await self._store.activate(owner, activation, warmed)
        place = activation.strategy_id, activation.revision, activation.partition
        self._world.begun[place] = warmed.state

    async def record_inputs(self, owner, next_offset, events, positions):
        await self._store.record_inputs(owner, next_offset, events, positions)
        self._world.inputs += [(owner.partition, next_offset, event) for event in events]


def event_of(config):
    stored = StoredStrategy(config, "", "local", NOW)
    number = f"{sum(config.strategy_id.encode()) * 1000 + config.revision:012x}"
    ours = f"5d0b5b57-9a5e-5f6f-8c1d-{number}"
    return changed_event(stored, event_id=ours, correlation_id=ours, causation_id=ours)


def flattens(first, past, revision) -> Flattening:
    instruments = tuple(StrategyInstrument(f"NSE:S{token}", token) for token in range(first, past))
    return Flattening(revision, instruments, Product.MIS)


class World:
    """A market of forty stocks, a log in a file, a store; and a strategy service that may die."""

    def __init__(self, folder, store, directory, topic_map, fate, seed=1):
        self.path = folder / "log.db"
        self.store, self.directory, self.topic_map, self.fate = store, directory, topic_map, fate
        self.random = random.Random(seed)
        self.prices = dict.fromkeys(TOKENS, 10000)
        self.steps = count(1)
        self.elapsed = count()
        self.lives = 0
        self.snapshot_interval = 6
        self.repeats = 0.0
        self.batch_size = 50
        self.types = TYPES
        self.begun, self.inputs = {}, []
        self.make_store = lambda: Noting(self.store, self)

    async def begin(self):
        """A life begins: everything that was in memory is gone."""
        self.lives += 1
        self.log = SqliteEventLog(self.path)
        await self.log.start()
        await self.log.ensure(self.topic_map.specs())
        self.ticks = StrategyTicks(
            Mortal(
                self.make_store(),
                self.fate,
                "activate",
                "save",
                "change",
                "record_inputs",
                "forget_inputs",
            ),
            Mortal(self.log, self.fate, "publish"),
            self.topic_map,
            lambda: new_host(self.directory, self.types),
            self.snapshot_interval,
            lambda: NOW,
            lambda: next(self.elapsed),
            structlog.get_logger(),
        )
        reader = self.log.group_reader(GROUP, self.ticks.topics, Start.EARLIEST)
        self.reader = Mortal(reader, self.fate, "commit")
        await self.reader.start(StrategyAssignment(self.ticks, self.reader))

    async def die(self):
        await self.log.stop()

    async def change(self, config):
        """A new revision comes by the API, and the service hears of it."""
        stored = StoredStrategy(config, "", "local", NOW)
        await self.store.change(config.strategy_id, lambda _: Change(stored, event_of(config)))
        await self.ticks.revisions.on_changed(event_of(config))

    async def hear(self):
        """What the service changed itself comes back to it."""
        for each in await self.store.current():
            await self.ticks.revisions.on_changed(event_of(each))

    async def feed(self):
        """A step of the market: a frame for each shard."""
        step = next(self.steps)
        time = OPEN_NS + step * 250_000_000
        records = []
        for shard in SHARDS:
            tokens = [t for t in TOKENS if shard_of(t) == shard and self.random.random() < 0.7]
            for token in tokens:
                self.prices[token] += 5 * self.random.randint(-60, 59)
            frame = Frame(
                "run", shard, step, time, 100, tokens, [self.prices[t] for t in tokens], [time] * len(tokens)
            )
            records.append(to_record(frame_event(frame, "marketdata", NOW), self.topic_map))
        self.newest = records
        await self.log.publish(records)
        if self.random.random() < self.repeats:  # marketdata has heard no answer
            await self.log.publish(records)

    async def work(self):
        """What the reliable consumer does, as far as it matters here."""
        while found := await self.reader.fetch(self.batch_size, 0):
            for at, records in found.items():
                batch = [Delivery(from_record(r, self.topic_map), "", r) for r in records]
                await self._until_there(self.ticks.handle, batch)
                await self._until_there(self.reader.commit, {at: records[-1].offset + 1})

    async def _until_there(self, call, argument):
        for _ in range(200):
            try:
                return await call(argument)
            except LogUnavailable:
                continue
        raise AssertionError("it never came back")

    async def survive(self, action):
        """Does something of the service; after a kill a new life takes over from what is stored."""
        try:
            await action()
        except Killed:
            await self.die()
            while not await self._lives_again():
                await self.die()

    async def _lives_again(self):
        try:
            await self.begin()
            await self.work()
        except (Killed, LogUnavailable):
            return False
        return True

    async def published(self):
        """Signals on the log by id, and how often each came."""
        signals, times = {}, Counter()
        for record in await self.everything(self.topic_map.topics("trading_signal")):
            event = from_record(record, self.topic_map)
            signal = signal_from(event)
            assert signals.setdefault(signal.signal_id, signal) == signal
            times[signal.signal_id] += 1
        return signals, times

    async def everything(self, topics):
        """All records of topics."""
        reader = self.log.topic_reader(topics, Start.EARLIEST)
        await reader.start()
        ends = await self.log.end_offsets(topics)
        records = []
        while any(reader.position(at) < end for at, end in ends.items()):
            records += await reader.fetch(1000, 1.0)
        await reader.stop()
        return records

    async def recomputed(self):
        """What follows from the log of ticks and what is recorded between them alone, each frame seen once."""
        records = await self.everything(self.ticks.topics)
        configs = {(c.strategy_id, c.revision): c for c in await self.revisions()}
        names = {strategy_id for strategy_id, _ in configs}
        activations = [a for name in names for a in await self.store.activations(name)]
        signals = {}
        for shard in SHARDS:
            host = new_host(self.directory)
            held = {}
            starts = sorted(
                (a for a in activations if a.partition == shard), key=lambda a: (a.next_offset, a.revision)
            )
            told = sorted((each for each in self.inputs if each[0] == shard), key=lambda each: each[1])
            seen = 0
            before = []
            for record in records:
                if record.partition != shard:
                    continue
                frame = frame_from(from_record(record, self.topic_map).tick_frame)
                if frame.sequence <= seen:
                    continue
                seen = frame.sequence
                while starts and starts[0].next_offset <= record.offset:
                    start = starts.pop(0)
                    chosen = configs[start.strategy_id, start.revision]
                    followed = chosen.after(held.get(start.strategy_id, 0))
                    held[start.strategy_id] = start.revision
                    here = followed.restricted_to(
                        lambda i, shard=shard: shard_of(i.instrument_token) == shard
                    )
                    running = here.state is StrategyState.RUNNING and here.instruments
                    state = warmed(new_host(self.directory), here, before).state if running else b""
                    if running and host.build.reads_position(here):
                        state = self.begun[start.strategy_id, start.revision, shard]
                    host.configure(here, state)
                while told and told[0][1] <= record.offset:
                    host.on_order(order_update_from(told.pop(0)[2]).order)
                before.append(frame)
                for signal in host.on_frame(frame):
                    signals[signal.signal_id] = signal_from(signal_event(signal, "strategy", NOW))
        return signals

    async def revisions(self):
        from alphapanda.strategy.store.postgres import _CONFIG, _config

        async with self.store._engine.connect() as connection:
            return [
                _config(row)
                for row in await connection.execute(text(f"SELECT {_CONFIG} FROM strategy.revisions r"))
            ]


NO_FATE = (0, 0.0, 0.0)


@pytest.fixture
def make_world(tmp_path, postgres_store, directory, topic_map):
    return lambda *fate: World(tmp_path, postgres_store, directory, topic_map, Fate(*(fate or NO_FATE)))


@pytest.mark.parametrize(
    ("seed", "kills", "outages"),
    [
        (0, 0.0, 0.0),
        (1, 0.05, 0.0),
        (2, 0.05, 0.05),
        (3, 0.06, 0.0),
        (4, 0.02, 0.2),
        (5, 0.06, 0.06),
    ],
)
async def test_a_kill_anywhere_changes_no_signal(make_world, seed, kills, outages) -> None:
    """Through kills at every step and a log that goes away, the signals are those of one undisturbed walk.

    The walk sees each frame once, though some stand on the log twice, and puts each revision in effect at its recorded
    offset; strategies are created, stopped, started, changed and stopped by their errors on the way. What a change flattens is flattened once, though
    the revision that asks for it is overtaken by another before it takes effect.
    """
    world = make_world(seed, kills, outages)
    world.repeats = 0.3
    script = {
        1: config("a", range(1, 21)),
        4: config("b", range(15, 41), brokers=("zerodha",), product=Product.CNC),
        10: config("fragile", range(1, 41), strategy_type="fragile"),
        20: config("a", range(1, 21), revision=2, fast=1, slow=3),
        28: config("b", range(15, 41), revision=2, state=StrategyState.STOPPED, brokers=("zerodha",)),
        35: config("b", range(15, 30), revision=3, brokers=("zerodha",)),
        36: config("a", range(5, 25), revision=3, fast=1, slow=3),
        40: config("b", range(30, 41), revision=4, brokers=("zerodha",), flattens=flattens(15, 30, 4)),
        42: config("a", range(1, 25), revision=4, fast=1, slow=3, flattens=flattens(5, 25, 4)),
        43: config("a", range(1, 25), revision=5, state=StrategyState.STOPPED, flattens=flattens(5, 25, 4)),
        45: config("a", range(1, 25), revision=6, fast=1, slow=3, flattens=flattens(5, 25, 4)),
    }

    async def both():
        await world.hear()
        await world.work()

    try:
        await world.begin()
    except (Killed, LogUnavailable):
        await world.die()
        await world.survive(lambda: (_ for _ in ()).throw(Killed()))
    for step in range(1, 51):
        await world.feed()
        if step in script:
            await world.change(script[step])
        if step % 3:  # else the service lags behind the feed
            await world.survive(both)
    world.fate._kills = world.fate._outages = 0.0
    await both()
    signals, times = await world.published()
    assert signals == await world.recomputed()
    assert len(signals) > 100
    assert {s.key.strategy_id for s in signals.values()} == {"a", "b", "fragile"}
    assert {s.config_revision for s in signals.values() if s.key.strategy_id == "a"} >= {1, 2, 3, 6}
    closed = Counter(
        (s.key.strategy_id, s.key.broker, s.instrument_token)
        for s in signals.values()
        if "flattens" in s.reason
    )
    assert closed == Counter(
        [("a", "paper", token) for token in range(5, 25)]
        + [("b", broker, token) for broker in ("paper", "zerodha") for token in range(15, 30)]
    )
    fragile = await world.store.get("fragile")
    assert fragile.config.state is StrategyState.STOPPED
    assert "3 errors in a row" in fragile.note
    assert "is too cheap" in fragile.note
    assert (world.lives > 3) == bool(kills)
    assert bool(outages) == any(met.startswith("away") for met in world.fate.met)
    assert kills or max(times.values()) == 1
    await world.log.stop()


async def test_a_clean_stop_leaves_nothing_to_repeat(make_world) -> None:
    """Partitions let go leave a snapshot at their end: the next life goes on there, with no signal twice."""
    world = make_world()
    await world.begin()
    await world.change(config("a", TOKENS))
    for life in range(3):
        for _ in range(11):
            await world.feed()
            await world.work()
        await world.reader.stop()
        await world.log.stop()
        await world.begin()
        counts = world.ticks.counts()
        assert counts.frames == 0, life
    signals, times = await world.published()
    assert len(signals) > 50
    assert set(times.values()) == {1}
    assert signals == await world.recomputed()
    await world.log.stop()


async def test_a_first_strategy_is_not_shown_again_what_its_warm_up_saw(make_world) -> None:
    """Where the log holds a frame twice, with the group's offset between, and nothing was to be replayed."""
    world = make_world()
    world.snapshot_interval = 1_000
    await world.begin()
    for _ in range(6):
        await world.feed()
        await world.work()
    await world.die()
    await world.begin()
    await world.log.publish(world.newest)  # marketdata has heard no answer
    await world.change(config("a", TOKENS))
    await world.work()
    for _ in range(8):
        await world.feed()
        await world.work()
    signals, _ = await world.published()
    assert len(signals) > 20
    assert signals == await world.recomputed()
    await world.log.stop()


@pytest.mark.parametrize("state", [StrategyState.RUNNING, StrategyState.STOPPED])
async def test_a_flattening_outlives_a_snapshot_before_its_first_frame(make_world, state) -> None:
    """A revision put in effect at a batch's second attempt is stored by the snapshot after it as one that still flattens."""
    world = make_world()
    world.snapshot_interval = 1000
    await world.begin()
    await world.change(config("a", TOKENS))
    for _ in range(12):
        await world.feed()
        await world.work()
    await world.die()
    asks = config("a", TOKENS, revision=2, state=state, flattens=flattens(1, 41, 2))
    second = StoredStrategy(asks, "", "local", NOW)
    await world.store.change("a", lambda _: Change(second, event_of(second.config)))
    world.snapshot_interval = 0
    await world.begin()
    publishes = count()

    def away(where):
        if where == "before publish" and next(publishes) % 2 == 0:
            raise LogUnavailable(where)

    world.fate.strike = away
    await world.work()
    assert {a.revision for a in await world.store.activations("a")} == {1, 2}
    await world.die()
    world.fate.strike = lambda _: None
    await world.begin()
    await world.feed()
    await world.work()
    signals, _ = await world.published()
    assert {s.instrument_token for s in signals.values() if "flattens" in s.reason} == set(TOKENS)
    assert signals == await world.recomputed()
    await world.log.stop()


async def test_a_revision_begun_is_in_effect_before_a_newer_one(make_world) -> None:
    """Where the store has an activation though it gave an error, the newer revision follows on it, now and after a kill."""
    world = make_world()
    await world.begin()
    await world.change(config("a", TOKENS))
    for _ in range(8):
        await world.feed()
        await world.work()
    asks = config("a", TOKENS, revision=2, flattens=flattens(1, 41, 2))
    goes_on = replace(asks, revision=3, quantity=20)
    heard = []

    def away(where):
        if where == "after activate":
            raise LogUnavailable(where)

    async def hears_of_the_next(batch):
        try:
            await world.ticks.handle(batch)
        except LogUnavailable:
            world.fate.strike = lambda _: None
            if not heard:
                heard.append(goes_on)
                await world.change(goes_on)
            raise

    await world.change(asks)
    world.fate.strike = away
    await world.feed()
    for at, records in (await world.reader.fetch(50, 0)).items():
        batch = [Delivery(from_record(r, world.topic_map), "", r) for r in records]
        await world._until_there(hears_of_the_next, batch)
        await world.reader.commit({at: records[-1].offset + 1})
    assert heard
    assert {a.revision for a in await world.store.activations("a")} == {1, 2, 3}
    await world.work()
    signals, _ = await world.published()
    assert {s.instrument_token for s in signals.values() if "flattens" in s.reason} == set(TOKENS)
    assert signals == await world.recomputed()
    await world.log.stop()


async def test_a_revision_takes_effect_at_a_recorded_offset(make_world) -> None:
    """Between two batches of each partition that holds one of its instruments, and nowhere else."""
    world = make_world()
    await world.begin()
    for _ in range(7):
        await world.feed()
    await world.work()
    (token,) = [next(t for t in TOKENS if shard_of(t) == SHARDS[1])]
    await world.change(config("a", [token]))
    await world.feed()
    await world.work()
    await world.change(config("a", [token], revision=2, state=StrategyState.STOPPED))
    await world.feed()
    await world.work()
    recorded = await world.store.activations("a")
    assert [(a.revision, a.partition) for a in recorded] == [(1, SHARDS[1]), (2, SHARDS[1])]
    first = recorded[0].next_offset
    assert recorded[1].next_offset == first + 1
    before = await world.log.committed_offsets(GROUP)
    assert before[TopicPartition(world.ticks.topics[0], SHARDS[1])] == first + 2
    await world.log.stop()


async def test_a_change_waits_for_what_the_process_before_may_have_handled(make_world) -> None:
    """What was on the log at the assignment is handled under the old revision; the lag says how much that is."""
    world = make_world()
    world.snapshot_interval = 1000
    await world.begin()
    await world.change(config("a", TOKENS))
    for _ in range(3):
        await world.feed()
        await world.work()
    await world.die()  # no snapshot after the activation's: all three steps are replayed
    await world.store.change(
        "a",
        lambda stored: Change(
            replace(stored, config=replace(stored.config, revision=2)),
            event_of(replace(stored.config, revision=2)),
        ),
    )
    await world.begin()
    ends = await world.log.end_offsets(world.ticks.topics)
    committed = await world.log.committed_offsets(GROUP)
    assert {ends[at] - offset for at, offset in committed.items()} == {3}
    await world.feed()
    await world.work()
    await world.feed()
    await world.work()
    for activation in await world.store.activations("a"):
        if activation.revision == 2:
            at = TopicPartition(world.ticks.topics[0], activation.partition)
            assert activation.next_offset >= ends[at]
    assert (await world.published())[0] == await world.recomputed()
    await world.log.stop()


async def test_a_strategy_that_cannot_be_loaded_is_stopped_and_the_others_start(make_world) -> None:
    """Its note says why; the others trade."""
    world = make_world()
    await world.begin()
    await world.change(config("gone", TOKENS, strategy_type="vanished"))
    await world.change(config("here", TOKENS))
    for _ in range(8):
        await world.feed()
        await world.work()
    gone = await world.store.get("gone")
    assert gone.config.state is StrategyState.STOPPED
    assert "can't be loaded: strategy_type: 'vanished'" in gone.note
    assert {s.key.strategy_id for s in (await world.published())[0].values()} == {"here"}
    await world.log.stop()


async def test_a_log_that_ends_before_a_snapshot_is_refused(make_world) -> None:
    """State from another log is not taken up in silence."""
    world = make_world()
    await world.begin()
    await world.change(config("a", TOKENS))
    await world.feed()
    await world.work()
    await world.reader.stop()
    await world.log.stop()
    for file in world.path.parent.glob("log.db*"):
        file.unlink()
    with pytest.raises(LogBehindSnapshot, match="database and log don't belong together"):
        await world.begin()
    await world.log.stop()


async def test_frames_ticks_signals_and_errors_are_counted(make_world) -> None:
    """By strategy where a strategy makes them; partitions let go keep their counts."""
    world = make_world()
    await world.begin()
    await world.change(config("a", TOKENS))
    for _ in range(12):
        await world.feed()
        await world.work()
    counts = world.ticks.counts()
    assert counts.frames == 12 * len(SHARDS)
    assert counts.ticks > 0
    assert counts.signals == {"a": len((await world.published())[0])}
    await world.reader.stop()
    assert world.ticks.counts() == counts
    await world.log.stop()
