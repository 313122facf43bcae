"""SearchRecords: the records of a log that name an id, within a bound of records examined."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from alphapanda.consuming.dead_letters import DeadLetters
from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.contract.wire import timestamp
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.eventlog.decode import Reason
from alphapanda.eventlog.port import Record, StoredRecord
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.mesh.errors import TooMany
from alphapanda.ops.log_api import LogApi
from alphapanda.ops.record_search import RecordSearch, Wanted, reach
from panda.ops.v1.ops_pb2 import DEAD_LETTER_STATE_WAITING, SearchRecordsRequest

TOPICS = TopicMap(("paper",))
RAW, FILLED = TOPICS.topic("trading_signal", "paper"), TOPICS.topic("order_filled", "paper")
FRAMES = TOPICS.topic("tick_frame")
MINE, OTHERS = "6f1d2c3b-0000-5000-8000-000000000001", "6f1d2c3b-0000-5000-8000-000000000002"
BEGAN = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)


class Clock:
    """Wall time that a test moves."""

    def __init__(self) -> None:
        self.at = BEGAN

    def __call__(self) -> int:
        return int(self.at.timestamp()) * 10**9


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def log(clock):
    """A log with a deployment's topics."""
    log = SqliteEventLog(":memory:", wall_clock_ns=clock)
    await log.start()
    await log.ensure(TOPICS.specs())
    yield log
    await log.stop()


def named(topic: str, ids: str, partition: int = 0) -> Record:
    return Record(topic, partition, b"k", f"before {ids} after".encode())


async def found(log, **request) -> list[tuple[str, int]]:
    answer = await LogApi(log, TOPICS, {}).search_records(SearchRecordsRequest(**request))
    return [(one.topic, one.offset) for one in answer.records]


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [((), 10, 0), ((3, 4), 10, 4), ((3, 100), 10, 7), ((100, 100), 10, 5), ((1, 2, 100, 100), 11, 4)],
)
def test_small_partitions_are_examined_whole_and_large_ones_share(sizes, most, expected) -> None:
    """What small partitions leave of the bound is shared by the large ones, and all stay within it."""
    by_partition = {TopicPartition("t", number): size for number, size in enumerate(sizes)}
    assert reach(by_partition, most) == expected
    assert sum(min(size, expected) for size in sizes) <= most


async def test_records_that_name_an_id_are_found_on_every_topic_in_order(log, clock) -> None:
    """Any topic and partition, in the order of appending; frames only where they are asked for."""
    await log.publish([named(FILLED, MINE, 3), named(RAW, OTHERS)])
    clock.at += timedelta(seconds=1)
    await log.publish([named(RAW, MINE), named(FRAMES, MINE)])
    assert await found(log, ids=[MINE]) == [(FILLED, 0), (RAW, 1)]
    assert await found(log, ids=[MINE.upper(), OTHERS], topics=[RAW]) == [(RAW, 0), (RAW, 1)]
    assert await found(log, ids=[MINE], topics=[FRAMES]) == [(FRAMES, 0)]
    assert await found(log, ids=["6f1d2c3b-0000-5000-8000-00000000000f"]) == []


async def test_a_search_keeps_to_its_span_of_time(log, clock) -> None:
    """`since` is inclusive and `until` exclusive, by the time at which the log appended a record."""
    for _ in range(4):
        await log.publish([named(RAW, MINE)])
        clock.at += timedelta(minutes=1)
    since, until = timestamp(BEGAN + timedelta(minutes=1)), timestamp(BEGAN + timedelta(minutes=3))
    assert await found(log, ids=[MINE], since=since, until=until) == [(RAW, 1), (RAW, 2)]


async def test_a_dead_letter_comes_with_its_state(log) -> None:
    """A dead-lettered record is found by the ids in its bytes, whether or not they can be decoded."""
    await log.publish([named(RAW, MINE)])
    broken = StoredRecord(RAW, 0, 0, b"k", f"before {MINE} after".encode(), (), 0)
    await DeadLetters(log).send(
        broken, group="risk.signals", reason=Reason.UNDECODABLE, detail="not an event"
    )
    api = LogApi(log, TOPICS, {})
    answer = await api.search_records(SearchRecordsRequest(ids=[MINE]))
    await api.stop()
    (letter,) = answer.letters
    assert (letter.letter_id, letter.state) == (f"risk.signals/{RAW}/0/0", DEAD_LETTER_STATE_WAITING)


async def test_what_was_left_out_is_said(log) -> None:
    """More records than a search may examine or return: the answer says which were left out."""
    await log.publish([named(RAW, MINE) for _ in range(8)])
    narrow = RecordSearch(log, TOPICS, most_examined=5)
    outcome = await narrow.find(Wanted([MINE], [RAW], None, None, 100))
    assert [one.offset for one in outcome.records] == [3, 4, 5, 6, 7]
    assert outcome.incomplete == "only the newest 5 records of each partition were examined"
    few = await RecordSearch(log, TOPICS).find(Wanted([MINE], [RAW], None, None, 2))
    assert [one.offset for one in few.records] == [0, 1]
    assert few.incomplete == "more than 2 records match; these are the oldest"


async def test_an_unknown_topic_is_refused(log) -> None:
    """A topic that the deployment doesn't have is refused by name, with the nearest one."""
    with pytest.raises(UnknownName, match="did you mean"):
        await found(log, ids=[MINE], topics=[RAW + "x"])


async def test_a_span_of_time_that_holds_nothing_is_refused(log) -> None:
    """`until` not after `since` finds nothing, whatever there is: it is refused by its name."""
    with pytest.raises(InvalidInput, match=r"until: .* a time after since"):
        await found(log, ids=[MINE], since=timestamp(BEGAN), until=timestamp(BEGAN))


async def test_searches_take_turns(log) -> None:
    """Two at once are answered one after the other; one whose turn doesn't come in time is refused."""
    await log.publish([named(RAW, MINE)])
    search = RecordSearch(log, TOPICS, turn_seconds=0.05)
    wanted = Wanted([MINE], [RAW], None, None, 10)
    both = await asyncio.gather(search.find(wanted), search.find(wanted))
    assert [len(one.records) for one in both] == [1, 1]
    async with search._turn:
        with pytest.raises(TooMany, match="another search"):
            await search.find(wanted)
    assert len((await search.find(wanted)).records) == 1
