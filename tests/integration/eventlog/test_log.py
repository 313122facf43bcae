"""What a log does, whichever adapter stands behind the port."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from alphapanda.contract.topics import TopicPartition, TopicSpec
from alphapanda.eventlog.port import Record, Start, TopicMissing

TOPIC = "things"
SPEC = TopicSpec(TOPIC, 4, 12, compacted=False)

purges_when_told = pytest.mark.parametrize(
    "log", ["file", ":memory:"], indirect=True
)  # Kafka does it in its own time


def record(text: str, partition: int = 0, key: str = "k", topic: str = TOPIC) -> Record:
    return Record(topic, partition, key.encode(), text.encode(), (("ce_id", text.encode()), ("empty", b"")))


def texts(records: Sequence) -> list[str]:
    return [one.value.decode() for one in records]


class Watcher:
    """An assignment that writes down what it is told."""

    def __init__(self, name: str, told: list) -> None:
        self.name = name
        self.told = told

    async def on_assigned(self, partitions) -> None:
        self.told.append(("+", self.name, set(partitions)))

    async def on_revoked(self, partitions) -> None:
        self.told.append(("-", self.name, set(partitions)))


async def read_all(reader, count: int) -> list:
    """Fetches until `count` records came, then once more without finding any."""
    found = []
    while len(found) < count:
        fetched = await reader.fetch(100, 5.0)
        assert fetched, f"{len(found)} of {count} came"
        found += (
            [one for records in fetched.values() for one in records] if isinstance(fetched, dict) else fetched
        )
    assert not await reader.fetch(100, 0.0)
    return found


@pytest.fixture(params=["file", ":memory:", "kafka"])
async def log(request, open_log):
    """An open log without topics, of each adapter."""
    async with open_log(request.param) as log:
        yield log


@pytest.fixture
async def topic(log):
    await log.ensure([SPEC])
    return log


async def test_offsets_are_contiguous_from_zero_in_each_partition(topic) -> None:
    """Each partition counts for itself, from 0, without gaps, over calls."""
    assert await topic.publish([record("a"), record("b", 1), record("c")]) == [0, 0, 1]
    assert await topic.publish([record("d"), record("e", 1)]) == [2, 1]
    assert await topic.end_offsets([TOPIC]) == {
        TopicPartition(TOPIC, 0): 3,
        TopicPartition(TOPIC, 1): 2,
        TopicPartition(TOPIC, 2): 0,
        TopicPartition(TOPIC, 3): 0,
    }


async def test_a_record_comes_back_as_it_was(topic, clock) -> None:
    """Key, value, headers (order, empty ones) and wall time survive, from memory and from the table."""
    await topic.publish([record("ünï\x00")])
    reader = topic.topic_reader([TOPIC], Start.EARLIEST)
    await reader.start()
    [found] = await read_all(reader, 1)
    assert (found.key, found.value, found.offset) == (b"k", "ünï\x00".encode(), 0)
    assert found.headers == (("ce_id", "ünï\x00".encode()), ("empty", b""))
    assert found.appended_at_ns == clock.ns
    assert await topic.last(TopicPartition(TOPIC, 0)) == found


async def test_concurrent_publishes_keep_each_callers_order(topic) -> None:
    """Many callers at once get distinct offsets, and each caller's records stay in its order."""

    async def caller(name: int) -> list[int]:
        return [(await topic.publish([record(f"{name}:{n}")]))[0] for n in range(50)]

    offsets = await asyncio.gather(*(caller(name) for name in range(8)))
    assert sorted(offset for given in offsets for offset in given) == list(range(400))
    assert all(given == sorted(given) for given in offsets)
    reader = topic.topic_reader([TOPIC], Start.EARLIEST)
    await reader.start()
    found = texts(await read_all(reader, 400))
    for name in range(8):
        mine = [int(text.split(":")[1]) for text in found if text.startswith(f"{name}:")]
        assert mine == list(range(50))


async def test_a_missing_topic_is_named(topic) -> None:
    """Publishing to it, reading it whole or in a group says which topic is missing; nothing makes it."""
    for attempt in (
        topic.publish([record("a"), record("b", topic="elsewhere")]),
        topic.group_reader("g", ["elsewhere"], Start.EARLIEST).start(),
        topic.topic_reader([TOPIC, "elsewhere"], Start.EARLIEST).start(),
        topic.end_offsets(["elsewhere"]),
    ):
        with pytest.raises(TopicMissing, match="'elsewhere'"):
            await attempt
    assert await topic.topics() == {TOPIC: 4}
    assert (await topic.end_offsets([TOPIC]))[TopicPartition(TOPIC, 0)] == 0


async def test_a_partition_out_of_range_is_refused(topic) -> None:
    """A partition that the topic doesn't have is named with what it has."""
    with pytest.raises(ValueError, match=r"4 is not in topic 'things', which has 4"):
        await topic.publish([record("a", 4)])


async def test_ensure_is_idempotent_and_tells_differences(topic) -> None:
    """An existing topic stays as it is, and a sentence tells each difference."""
    assert await topic.ensure([SPEC]) == []
    differences = await topic.ensure(
        [TopicSpec(TOPIC, 8, None, compacted=True), TopicSpec("new", 1, 1, compacted=False)]
    )
    assert len(differences) == 3
    assert "partitions 4, 8 is wanted" in differences[0]
    assert await topic.topics() == {TOPIC: 4, "new": 1}


async def test_a_group_goes_on_where_it_committed(topic) -> None:
    """A new member begins at the group's offset; another group is not concerned."""
    await topic.publish([record(str(n)) for n in range(10)])
    first = topic.group_reader("g", [TOPIC], Start.EARLIEST)
    await first.start()
    assert await first.committed(TopicPartition(TOPIC, 0)) is None
    assert len(await read_all(first, 10)) == 10
    await first.commit({TopicPartition(TOPIC, 0): 7})
    await first.stop()
    assert await topic.committed_offsets("g") == {TopicPartition(TOPIC, 0): 7}
    second, other = (topic.group_reader(group, [TOPIC], Start.EARLIEST) for group in ("g", "h"))
    await second.start()
    await other.start()
    assert texts(await read_all(second, 3)) == ["7", "8", "9"]
    assert len(await read_all(other, 10)) == 10


async def test_a_new_group_from_the_latest_record_misses_nothing_from_then_on(topic) -> None:
    """LATEST skips what was there, and not what came while the group was away before its first commit."""
    await topic.publish([record("old")])
    first = topic.group_reader("g", [TOPIC], Start.LATEST)
    await first.start()
    assert not await first.fetch(10, 0.0)
    await first.stop()
    await topic.publish([record("new"), record("newer")])
    second = topic.group_reader("g", [TOPIC], Start.LATEST)
    await second.start()
    assert texts(await read_all(second, 2)) == ["new", "newer"]


async def test_members_share_partitions_and_nobody_reads_anothers(topic, eventually) -> None:
    """Each partition has one holder; a joiner waits until the others let go; a leaver's partitions go on."""
    told: list = []
    everything = {TopicPartition(TOPIC, n) for n in range(4)}
    first, second = (topic.group_reader("g", [TOPIC], Start.EARLIEST) for _ in range(2))
    await first.start(Watcher("first", told))
    assert first.assigned() == everything
    await second.start(Watcher("second", told))
    await eventually(lambda: len(first.assigned()) == len(second.assigned()) == 2)
    assert first.assigned() | second.assigned() == everything
    given = next(n for n, line in enumerate(told) if line[:2] == ("+", "second"))
    gone = next(n for n, line in enumerate(told) if line[:2] == ("-", "first"))
    assert gone < given
    assert told[given][2] <= told[gone][2]
    await topic.publish([record(str(n), n) for n in range(4)])
    mine, others = await read_all(first, 2), await read_all(second, 2)
    assert sorted(texts(mine) + texts(others)) == ["0", "1", "2", "3"]
    await first.commit({one.topic_partition: one.offset + 1 for one in mine})
    await second.commit({one.topic_partition: one.offset + 1 for one in others})
    await first.stop()
    await eventually(lambda: second.assigned() == everything)
    assert told[-1][:2] == ("+", "second")
    await topic.publish([record(f"{n}b", n) for n in range(4)])
    assert sorted(texts(await read_all(second, 4))) == ["0b", "1b", "2b", "3b"]


async def test_who_lost_a_partition_commits_it_no_more(topic) -> None:
    """A commit of a partition that another member holds leaves the group's offset as it is."""
    first, second = (topic.group_reader("g", [TOPIC], Start.EARLIEST) for _ in range(2))
    await first.start()
    await second.start()
    [theirs, *_] = sorted(second.assigned())
    await first.commit({theirs: 5})
    assert await second.committed(theirs) is None


async def test_nothing_is_fetched_before_the_assignment_ran_and_it_may_seek(topic) -> None:
    """While on_assigned runs no record of the partition is handed out; the position it seeks is the first read."""
    await topic.publish([record(str(n)) for n in range(5)])
    reader = topic.group_reader("g", [TOPIC], Start.EARLIEST)
    begun, go = asyncio.Event(), asyncio.Event()

    class Seeks(Watcher):
        async def on_assigned(self, partitions) -> None:
            begun.set()
            await go.wait()
            await reader.seek(TopicPartition(TOPIC, 0), 3)

    joining = asyncio.create_task(reader.start(Seeks("x", [])))
    await begun.wait()
    assert not await reader.fetch(10, 0.05)
    go.set()
    await joining
    assert texts(await read_all(reader, 2)) == ["3", "4"]
    assert reader.position(TopicPartition(TOPIC, 0)) == 5


async def test_seeking_what_is_not_held_is_an_error(topic) -> None:
    """A seek can't make a member a holder."""
    reader = topic.group_reader("g", [TOPIC], Start.EARLIEST)
    await reader.start()
    with pytest.raises(ValueError, match="not held"):
        await reader.seek(TopicPartition(TOPIC, 9), 0)


async def test_a_paused_partition_waits_and_the_others_go_on(topic) -> None:
    """Pausing stops one partition; resuming wakes the reader with what had come."""
    reader = topic.group_reader("g", [TOPIC], Start.EARLIEST)
    await reader.start()
    reader.pause(TopicPartition(TOPIC, 0))
    await topic.publish([record("held back"), record("goes on", 1)])
    assert texts(await read_all(reader, 1)) == ["goes on"]
    waiting = asyncio.create_task(reader.fetch(10, 5.0))
    await asyncio.sleep(0.01)
    reader.resume(TopicPartition(TOPIC, 0))
    assert [texts(found) for found in (await waiting).values()] == [["held back"]]


async def test_a_busy_partition_starves_no_other(topic) -> None:
    """With a small fetch every partition has its turn."""
    await topic.publish([record(f"{p}:{n}", p) for p in range(4) for n in range(20)])
    reader = topic.group_reader("g", [TOPIC], Start.EARLIEST)
    await reader.start()
    await asyncio.sleep(0.3)  # Kafka's records come from the network, by and by
    turns = [next(iter(await reader.fetch(5, 1.0))).partition for _ in range(4)]
    assert sorted(turns) == [0, 1, 2, 3]


async def test_a_publish_wakes_who_waits(topic) -> None:
    """A waiting fetch returns by the publish, long before its timeout, without polling."""
    group, whole = topic.group_reader("g", [TOPIC], Start.EARLIEST), topic.topic_reader([TOPIC], Start.LATEST)
    await group.start()
    await whole.start()
    waiting = [asyncio.create_task(reader.fetch(10, 30.0)) for reader in (group, whole)]
    await asyncio.sleep(0.01)
    async with asyncio.timeout(20):
        await topic.publish([record("now")])
        by_group, everything = await asyncio.gather(*waiting)
    assert texts(everything) == [text for found in by_group.values() for text in texts(found)] == ["now"]


async def test_groupless_readers_each_get_everything_from_where_they_want(topic) -> None:
    """EARLIEST, LATEST and given offsets; a partition without a given offset from its first record."""
    await topic.publish([record(f"{p}:{n}", p) for p in range(2) for n in range(3)])
    starts = (Start.EARLIEST, Start.LATEST, {TopicPartition(TOPIC, 0): 2})
    readers = [topic.topic_reader([TOPIC], start) for start in starts]
    for reader in readers:
        await reader.start()
    await topic.publish([record("0:3")])
    found = [sorted(texts(await read_all(reader, n))) for reader, n in zip(readers, (7, 1, 5), strict=True)]
    assert found[0] == ["0:0", "0:1", "0:2", "0:3", "1:0", "1:1", "1:2"]
    assert found[1] == ["0:3"]
    assert found[2] == ["0:2", "0:3", "1:0", "1:1", "1:2"]
    assert readers[1].position(TopicPartition(TOPIC, 0)) == 4


async def test_the_first_record_of_a_time_is_found(topic, clock) -> None:
    """`offsets_at` gives the first record appended then or later, else the partition's end; at 0 the first kept."""
    for _ in range(3):
        await topic.publish([record("one"), record("two")])
        clock.pass_hours(1)
    at, empty = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)
    hour = 3_600 * 10**9
    began = clock() - 3 * hour
    found = [(await topic.offsets_at([TOPIC], began + n * hour)) for n in range(-1, 5)]
    assert [one[at] for one in found] == [0, 0, 2, 4, 6, 6]
    assert {one[empty] for one in found} == {0}
    assert (await topic.offsets_at([TOPIC], 0))[at] == 0


async def test_a_slow_reader_catches_up_from_the_table(topic) -> None:
    """Far more than memory keeps is read back whole and in order."""
    for at in range(0, 5_000, 500):
        await topic.publish([record(str(n)) for n in range(at, at + 500)])
    reader = topic.topic_reader([TOPIC], Start.EARLIEST)
    await reader.start()
    assert texts(await read_all(reader, 5_000)) == [str(n) for n in range(5_000)]


@purges_when_told
async def test_records_past_their_retention_go_and_offsets_go_on(topic, clock) -> None:
    """purge() deletes by age, keeps offsets growing, and readers begin at the first record kept."""
    await topic.publish([record("old"), record("old too")])
    clock.pass_hours(11)
    await topic.publish([record("young")])
    assert await topic.purge() == 0
    clock.pass_hours(2)
    assert await topic.purge() == 2
    assert await topic.publish([record("newest")]) == [3]
    reader = topic.topic_reader([TOPIC], Start.EARLIEST)
    await reader.start()
    assert [(one.value, one.offset) for one in await read_all(reader, 2)] == [(b"young", 2), (b"newest", 3)]
    clock.pass_hours(100)
    assert await topic.purge() == 2
    late = topic.group_reader("late", [TOPIC], Start.EARLIEST)
    await late.start()
    assert not await late.fetch(10, 0.0)
    assert late.position(TopicPartition(TOPIC, 0)) == 4
    assert await topic.last(TopicPartition(TOPIC, 0)) is None
    assert await topic.publish([record("later")]) == [4]


@purges_when_told
async def test_a_compacted_topic_keeps_the_newest_of_each_key(log, clock) -> None:
    """Replaced records go, whatever their age; the newest of each key stay for ever."""
    await log.ensure([TopicSpec("control", 1, None, compacted=True)])
    for n, key in enumerate("abacb"):
        await log.publish([record(f"{key}{n}", key=key, topic="control")])
    clock.pass_hours(100_000)
    assert await log.purge() == 2
    reader = log.topic_reader(["control"], Start.EARLIEST)
    await reader.start()
    assert texts(await read_all(reader, 3)) == ["a2", "c3", "b4"]
    assert await log.purge() == 0
