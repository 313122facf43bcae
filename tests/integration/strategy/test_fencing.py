"""Two strategy processes on one group: who lost its partitions, or thaws late, tells and stores nothing of its own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from itertools import count
from uuid import uuid4

import pytest
import structlog
from tests.integration.strategy.test_consumer import NO_FATE, NOW, TOKENS, Fate, World, config, new_host

from alphapanda.consuming.delivery import Delivery
from alphapanda.eventlog.decode import from_record
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.port import Start
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.resilience.failures import TransientFailure
from alphapanda.strategy.consumer import GROUP, StrategyAssignment, StrategyTicks


@asynccontextmanager
async def on_kafka(bootstrap):
    settings = KafkaOptions(bootstrap_servers=bootstrap, group_prefix=f"test-{uuid4().hex}")
    log = KafkaEventLog(settings, ["market.ticks"])
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


@pytest.fixture(params=["sqlite", "kafka"])
async def log(request, tmp_path, topic_map):
    """An open log with all topics, of each adapter."""
    if request.param == "kafka":
        async with on_kafka(request.getfixturevalue("kafka")) as log:
            await log.ensure(topic_map.specs())
            yield log
    else:
        log = SqliteEventLog(tmp_path / "log.db")
        await log.start()
        await log.ensure(topic_map.specs())
        yield log
        await log.stop()


class Freezable(StrategyAssignment):
    """An assignment whose member doesn't notice any more that its partitions go."""

    frozen = False

    async def on_revoked(self, partitions):
        if not self.frozen:
            await super().on_revoked(partitions)


class Member:
    """A strategy process: a handler and its membership."""

    def __init__(self, world):
        self.world = world
        self.ticks = StrategyTicks(
            world.store, world.log, world.topic_map, lambda: new_host(world.directory), 6, lambda: NOW,
            count().__next__, structlog.get_logger(),
        )  # fmt: skip
        self.reader = world.log.group_reader(GROUP, self.ticks.topics, Start.EARLIEST)
        self.assignment = Freezable(self.ticks, self.reader)

    async def join(self):
        await self.reader.start(self.assignment)
        return self

    async def freeze(self):
        """It stands still with its partitions, and the group gives them away."""
        self.assignment.frozen = True
        await self.reader.stop()

    async def fetched(self, seconds=0.1):
        """Batches of what is on the log and was not fetched."""
        found = await self.reader.fetch(50, seconds)
        return [self.world.batch(records) for records in found.values()]

    async def work(self):
        """Handles all that is on the log of its partitions; returns how many batches were refused, and passed again.

        As a consumer does, it goes on with the batches of other partitions, and passes a refused one again.
        """
        ends, refused = await self.world.log.end_offsets(self.ticks.topics), 0
        async with asyncio.timeout(30):
            while any(self.reader.position(at) < ends[at] for at in self.reader.assigned()):
                for batch in await self.fetched():
                    try:
                        await self.ticks.handle(batch)
                    except TransientFailure:
                        refused += 1
                        await self.ticks.handle(batch)
                    record = batch[-1].record
                    await self.reader.commit({record.topic_partition: record.offset + 1})
        return refused


class SharedWorld(World):
    """The market of the neighbouring tests on a log that is open, with members that come and go."""

    def __init__(self, folder, store, directory, topic_map, log):
        super().__init__(folder, store, directory, topic_map, Fate(*NO_FATE))
        self.log = log
        self.ticks = Member(self).ticks

    def batch(self, records):
        return [Delivery(from_record(r, self.topic_map), "", r) for r in records]

    async def offsets(self):
        partitions = {a.partition for a in await self.store.activations("a")}
        return {p: s.next_offset for p in partitions for s in await self.store.snapshots(p)}


@pytest.fixture
def world(tmp_path, postgres_store, directory, topic_map, log):
    return SharedWorld(tmp_path, postgres_store, directory, topic_map, log)


async def test_members_that_come_and_go_miss_no_signal_and_make_none_twice(world) -> None:
    """A second one joins mid-stream, and the first leaves: every frame has one owner."""
    first, second = await Member(world).join(), Member(world)
    world.ticks = first.ticks
    await world.change(config("a", TOKENS))
    for _ in range(8):
        await world.feed()
    await first.work()
    await asyncio.gather(
        second.join(), *([first.fetched(3.0)] if isinstance(world.log, KafkaEventLog) else [])
    )
    for _ in range(8):
        await world.feed()
    await asyncio.gather(first.work(), second.work())
    await first.reader.stop()
    await asyncio.sleep(0)
    for _ in range(8):
        await world.feed()
    async with asyncio.timeout(30):
        while len(second.ticks.holds()) < len(await world.log.end_offsets(second.ticks.topics)):
            for batch in await second.fetched():
                await second.ticks.handle(batch)
    await second.work()
    signals, times = await world.published()
    assert signals == await world.recomputed()
    assert len(signals) > 50
    assert set(times.values()) == {1}
    await second.reader.stop()


@pytest.mark.parametrize("thaws_on", ["what it had fetched", "what came since"])
async def test_who_thaws_late_tells_and_stores_nothing_of_its_own(world, thaws_on) -> None:
    """Its successor has changed the strategy since: no signal of the old revision comes for a frame after the change."""
    late = await Member(world).join()
    world.ticks = late.ticks
    await world.change(config("a", TOKENS))
    for _ in range(12):
        await world.feed()
        await late.work()
    for _ in range(6):
        await world.feed()
    in_hand = await late.fetched(2.0)
    assert in_hand
    await late.freeze()
    successor = await Member(world).join()
    await successor.work()
    world.ticks = successor.ticks
    await world.change(config("a", TOKENS, revision=2, fast=1, slow=2))
    for _ in range(20):
        await world.feed()
        await successor.work()
    stored = await world.offsets()
    before = await world.published()
    if thaws_on == "what came since":
        records = await world.everything(late.ticks.topics)
        partitions = sorted({record.partition for record in records})
        in_hand = [world.batch([r for r in records if r.partition == p]) for p in partitions]
    refused = 0
    for batch in in_hand:
        try:
            await late.ticks.handle(batch)
        except TransientFailure:
            refused += 1
        await late.ticks.handle(batch)  # it has let go, and the group gives it nothing
    assert refused > 0
    await late.ticks.revoked([b[0].record.topic_partition for b in in_hand])
    assert await world.published() == before
    assert await world.offsets() == stored
    signals, _ = before
    assert signals == await world.recomputed()
    assert {signal.config_revision for signal in signals.values()} == {1, 2}
    await successor.reader.stop()


async def test_one_overtaken_by_mistake_takes_its_partitions_up_anew(world) -> None:
    """Who took them has died: the group gives them to nobody else, so their owner goes on from what is stored."""
    owner = await Member(world).join()
    world.ticks = owner.ticks
    await world.change(config("a", TOKENS))
    for _ in range(10):
        await world.feed()
        await owner.work()
    for partition in owner.ticks.holds():
        await world.store.take(partition)
    refused = 0
    for _ in range(15):
        await world.feed()
        refused += await owner.work()
    assert refused > 0
    await owner.reader.stop()
    again = await Member(world).join()
    await again.work()
    signals, _ = await world.published()
    assert signals == await world.recomputed()
    await again.reader.stop()
