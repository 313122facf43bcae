"""Parked keys: a bug stops its key and nothing else; redriving or discarding lets it go on in order (rule 5)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs
from tests.in_memory.parking import MemoryParking
from typing_extensions import override

from alphapanda.consuming.consumer import ReliableConsumer
from alphapanda.consuming.dead_letters import (
    Act,
    DeadLetters,
    Ending,
    Letter,
    Outcome,
    command_record,
    letter_or_outcome,
)
from alphapanda.consuming.delivery import Delivery
from alphapanda.consuming.parking import ParkedKey
from alphapanda.consuming.postgres_parking import PostgresParking
from alphapanda.contract.topics import TopicPartition, dead_letter_topic
from alphapanda.eventlog.decode import Reason, to_record
from alphapanda.eventlog.port import Record, Start, StoredRecord

GROUP = "risk.signals"


class Books:
    """Effects in the order they came; what is broken fails until it is mended."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.discarded: list[str] = []
        self.broken: set[str] = set()

    async def handle(self, batch: Sequence[Delivery]) -> None:
        ids = [one.event.event_id for one in batch]
        if bad := self.broken.intersection(ids):
            raise KeyError(f"a bug: {min(bad)}")
        self.effects = list(dict.fromkeys(self.effects + ids))

    async def discard(self, delivery: Delivery) -> None:
        self.discarded.append(delivery.event.event_id)


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def parking() -> MemoryParking:
    return MemoryParking()


@pytest.fixture
async def consume(deployed, topic_map, policy, parking):
    """Starts a consumer in a group; stops it at the end."""
    started = []

    async def start(books: Books, group: str = GROUP, kept: MemoryParking = parking) -> ReliableConsumer:
        consumer = ReliableConsumer(
            name=group,
            service="risk",
            log=deployed,
            reader=deployed.group_reader(group, topic_map.topics("trading_signal"), Start.EARLIEST),
            topic_map=topic_map,
            handler=books,
            dead_letters=DeadLetters(deployed),
            policy=policy,
            parking=kept,
            discard=books.discard,
        )
        await consumer.start()
        started.append(consumer)
        return consumer

    yield start
    for consumer in started:
        await consumer.stop()


@pytest.fixture
def letters(deployed, topic_map):
    """The dead-letter topics of signals as they stand."""

    async def read() -> list[Letter | Outcome]:
        topics = [dead_letter_topic(topic) for topic in topic_map.topics("trading_signal")]
        reader = deployed.topic_reader(topics, Start.EARLIEST)
        await reader.start()
        return [letter_or_outcome(record) for record in await reader.fetch(1000, 0.0)]

    return read


def parked(consumer: ReliableConsumer) -> int:
    return sum(status.parked for status in consumer.status())


def ids(events) -> list[str]:
    return [event.event_id for event in events]


async def parked_three(consume, publish, settled, books, signal):
    """A key whose second of four records is poisoned: the last three are parked."""
    events = [signal(n) for n in range(4)]
    books.broken = {events[1].event_id}
    await publish(*events)
    consumer = await consume(books)
    await settled(consumer)
    return events, consumer


async def test_a_bug_parks_its_key_and_the_others_go_on(
    consume, publish, settled, books, signal, letters
) -> None:
    """The key's records stand on the dead-letter topic in order, as they came; an alarm and the status say so."""
    others = [signal(n, strategy=f"s{n}") for n in range(30)]
    with capture_logs() as logs:
        await publish(*others[:15])
        events, consumer = await parked_three(consume, publish, settled, books, signal)
        await publish(*others[15:], signal(9))
        await settled(consumer)
    assert set(books.effects) == {*ids(others), events[0].event_id}
    found = await letters()
    assert [one.original.value for one in found] == [
        event.SerializeToString(deterministic=True) for event in (*events[1:], signal(9))
    ]
    assert [one.reason for one in found] == ["BUG", "PARKED", "PARKED", "PARKED"]
    assert {one.letter_id.group for one in found} == {GROUP}
    assert [one["event"] for one in logs if one.get("alarm")] == ["consumer.key_parked"]
    assert parked(consumer) == 1
    assert consumer.serving


async def test_a_parked_key_stays_parked_over_a_restart(
    consume, publish, settled, books, signal, letters
) -> None:
    """It is read on assignment: even a mended program doesn't overtake what waits."""
    events, consumer = await parked_three(consume, publish, settled, books, signal)
    await consumer.stop()
    books.broken = set()
    await publish(signal(9))
    again = await consume(books)
    await settled(again)
    assert books.effects == ids(events[:1])
    assert parked(again) == 1
    assert len(await letters()) == 4


async def test_a_key_is_redriven_in_order_into_its_group_and_only_there(
    deployed, consume, publish, settled, books, signal, letters
) -> None:
    """What waits is handled first, what came since behind it; another group sees nothing of it; twice changes nothing."""
    events, consumer = await parked_three(consume, publish, settled, books, signal)
    bystander = Books()
    other = await consume(bystander, "risk.watchers", MemoryParking())
    books.broken = set()
    [first, *_] = await letters()
    await publish(signal(8))
    await deployed.publish([command_record(first, Act.REDRIVE, whole_key=True)] * 2)
    await publish(signal(9))
    await settled(consumer)
    assert books.effects == ids([*events, signal(8), signal(9)])
    assert parked(consumer) == 0
    endings = [one for one in await letters() if isinstance(one, Outcome)]
    assert [one.ending for one in endings] == [Ending.REDRIVEN] * 4
    await settled(other)
    assert bystander.effects == ids([*events, signal(8), signal(9)])
    assert sum(status.dead_lettered for status in other.status()) == 0


async def test_a_redrive_that_fails_again_leaves_the_key_parked(
    deployed, consume, publish, settled, books, signal, letters
) -> None:
    """Nothing behind the record is tried; the outcome says what it failed with."""
    events, consumer = await parked_three(consume, publish, settled, books, signal)
    [first, *_] = await letters()
    await deployed.publish([command_record(first, Act.REDRIVE, whole_key=True)])
    await settled(consumer)
    assert books.effects == ids(events[:1])
    assert parked(consumer) == 1
    [again] = [one for one in await letters() if isinstance(one, Outcome)]
    assert again.ending is Ending.FAILED_AGAIN
    assert "a bug" in again.detail


async def test_one_record_is_redriven_or_discarded_by_itself(
    deployed, consume, publish, settled, books, signal, letters
) -> None:
    """The poisoned one is discarded; the others of its key follow when they are redriven."""
    events, consumer = await parked_three(consume, publish, settled, books, signal)
    first, second, _ = await letters()
    await deployed.publish([command_record(first, Act.DISCARD, whole_key=False)])
    await settled(consumer)
    assert books.discarded == [events[1].event_id]
    assert parked(consumer) == 1
    await deployed.publish([command_record(second, Act.REDRIVE, whole_key=False)])
    await settled(consumer)
    assert books.effects == ids([events[0], events[2]])
    await deployed.publish([command_record(second, Act.REDRIVE, whole_key=True)])
    await settled(consumer)
    assert books.effects == ids([events[0], events[2], events[3]])
    assert parked(consumer) == 0


async def test_a_parked_record_that_nobody_can_read_any_more_doesn_t_hold_its_key_for_ever(
    deployed, consume, settled, books, signal, letters, topic_map, parking
) -> None:
    """Parked by a program that took it for an event: a redrive says why it isn't one, a discard lets its key go on."""
    good = to_record(signal(1), topic_map)
    other, unreadable = (
        StoredRecord(good.topic, good.partition, 0, key, b"\xff", (), 0) for key in (b"another", good.key)
    )
    await DeadLetters(deployed).send(unreadable, group=GROUP, reason=Reason.BUG, detail="a bug")
    await parking.park(GROUP, unreadable)
    consumer = await consume(books)
    await deployed.publish([Record(other.topic, other.partition, other.key, other.value), good])
    await settled(consumer)
    assert parked(consumer) == 1
    first, _, second = await letters()
    for act in Act:
        await deployed.publish([command_record(first, act, whole_key=False)])
    await deployed.publish([command_record(second, Act.REDRIVE, whole_key=True)])
    await settled(consumer)
    endings = [one.ending for one in await letters() if isinstance(one, Outcome)]
    assert endings == [Ending.FAILED_AGAIN, Ending.DISCARDED, Ending.REDRIVEN]
    assert books.discarded == []
    assert books.effects == ids([signal(1)])
    assert parked(consumer) == 0


async def test_a_letter_that_could_not_be_read_is_redriven_by_itself(
    deployed, consume, settled, books, signal, letters, topic_map, monkeypatch
) -> None:
    """Bytes that a newer program reads are handled; those that nobody reads stay letters."""
    good = to_record(signal(1), topic_map)
    await deployed.publish([Record(good.topic, good.partition, good.key, b"\xff", (("x", b"y"),))])
    consumer = await consume(books)
    await settled(consumer)
    [letter] = await letters()
    await deployed.publish([command_record(letter, Act.REDRIVE, whole_key=False)])
    await settled(consumer)
    [_, again] = await letters()
    assert again.ending is Ending.FAILED_AGAIN
    mended = Letter(
        letter.letter_id,
        letter.reason,
        "",
        StoredRecord(
            *[getattr(letter.original, name) for name in ("topic", "partition", "offset", "key")],
            good.value,
            (),
            0,
        ),
        letter.at,
        letter.offset,
    )
    await deployed.publish([command_record(mended, Act.REDRIVE, whole_key=False)])
    await settled(consumer)
    assert books.effects == ids([signal(1)])


class CountingParking(MemoryParking):
    """Counts the records it returns."""

    read = 0

    @override
    async def records(self, *args, **options) -> Sequence[StoredRecord]:
        found = await super().records(*args, **options)
        self.read += len(found)
        return found


@pytest.mark.parametrize("mended", [True, False])
async def test_each_letter_by_itself_costs_what_one_costs(
    deployed, consume, publish, settled, books, signal, letters, mended
) -> None:
    """A command for each of a key's letters reads no more of its records for twice as many, whether they fail again or not."""
    read = []
    for start, n in ((0, 40), (1000, 80)):
        kept = CountingParking()
        events = [signal(start + number, strategy=f"s{n}") for number in range(n)]
        books.broken = {events[0].event_id}
        await publish(*events)
        consumer = await consume(books, f"risk.{n}", kept)
        await settled(consumer)
        books.broken = set() if mended else books.broken
        mine = [one for one in await letters() if one.letter_id.group == f"risk.{n}"]
        await deployed.publish([command_record(one, Act.REDRIVE, whole_key=False) for one in mine])
        await settled(consumer)
        assert parked(consumer) == (0 if mended else 1)
        read.append(kept.read)
        await consumer.stop()
    assert read[1] <= 2.2 * read[0], read


@pytest.fixture
async def postgres_parking(tables):
    """The adapter in a schema."""
    engine = create_async_engine(tables)
    yield PostgresParking(engine, "trading")
    await engine.dispose()


async def test_parked_keys_in_memory() -> None:
    """The adapter for simulation keeps the port's word."""
    await keeps_its_word(MemoryParking())


async def test_parked_keys_in_postgresql(postgres_parking) -> None:
    """The adapter for trading keeps the port's word."""
    await keeps_its_word(postgres_parking)


async def keeps_its_word(store) -> None:
    """A key is parked with its first record and free with its last; a record parked twice is one."""
    at = TopicPartition("t", 2)
    records = [
        StoredRecord("t", 2, offset, b"k\x00", bytes([offset]), (("h", b"\xff"), ("h", b"")), offset)
        for offset in (5, 3, 11)
    ]
    for record in (*records, records[0]):
        await store.park("risk.signals", record)
    await store.park("risk.signals", StoredRecord("t", 3, 1, b"k\x00", b"", (), 1))
    key = ParkedKey(at, b"k\x00")
    assert list(await store.parked("risk.signals", [at])) == [key]
    assert list(await store.parked("risk.orders", [at])) == []
    assert list(await store.records("risk.signals", key)) == sorted(records, key=lambda one: one.offset)
    assert [one.offset for one in await store.records("risk.signals", key, after=3, most=1)] == [5]
    assert [
        await store.release("risk.signals", record) for record in (records[0], records[0], records[1])
    ] == [False] * 3
    assert await store.release("risk.signals", records[2])
    assert list(await store.parked("risk.signals", [at])) == []


async def test_a_release_costs_the_same_however_many_went_before(tables) -> None:
    """The blocks of PostgreSQL read for the last fifty of thousands of a key are as many as for its first fifty."""
    engine = create_async_engine(tables, pool_size=1, max_overflow=0)
    store = PostgresParking(engine, "trading")
    await store.park("trading", at(0))

    async def blocks_read() -> int:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_stat_force_next_flush()"))
        async with engine.connect() as connection:
            return int((await connection.execute(text(BLOCKS_READ))).scalar_one())

    async def released(offsets: range) -> int:
        before = await blocks_read()
        for offset in offsets:
            assert not await store.release("trading", at(offset))
        return await blocks_read() - before

    async with engine.begin() as connection:
        await connection.execute(text(THOUSANDS))
    first = await released(range(50))
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM trading.parked_records WHERE log_offset < 4000"))
    last = await released(range(4000, 4050))
    assert last <= 2 * first
    await engine.dispose()


BLOCKS_READ = (
    "SELECT sum(idx_blks_hit + idx_blks_read + heap_blks_hit + heap_blks_read) FROM pg_statio_user_tables"
    " WHERE schemaname = 'trading' AND relname LIKE 'parked%'"
)
THOUSANDS = (
    "INSERT INTO trading.parked_records SELECT consumer, topic, partition, n, key, value, header_names, header_values, 1"
    " FROM trading.parked_records, generate_series(1, 4099) n"
)


def at(offset: int) -> StoredRecord:
    return StoredRecord("t", 2, offset, b"k", b"x", (), 1)
