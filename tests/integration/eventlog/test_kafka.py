"""What only Kafka can show: rebalances, brokers that die and freeze, answers that are none."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiokafka.admin import NewTopic
from aiokafka.errors import RequestTimedOutError

from alphapanda.consuming.consumer import ReliableConsumer
from alphapanda.consuming.dead_letters import DeadLetters
from alphapanda.contract.topics import TopicPartition, TopicSpec
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.port import LogUnavailable, Record, Start, TopicMissing

TOPIC = "things"
SPEC = TopicSpec(TOPIC, 4, None, compacted=False)
FIRST = TopicPartition(TOPIC, 0)


def record(text: str, partition: int = 0, topic: str = TOPIC) -> Record:
    return Record(topic, partition, b"k", text.encode())


@pytest.fixture
async def log(open_log) -> AsyncIterator[KafkaEventLog]:
    async with open_log("kafka") as log:
        await log.ensure([SPEC])
        yield log


@pytest.fixture(scope="module")
def fragile(start_kafka):
    """A Kafka that may be killed and frozen."""
    server = start_kafka()
    yield server
    server.stop()


@asynccontextmanager
async def opened(bootstrap: str, **settings) -> AsyncIterator[KafkaEventLog]:
    defaults = {
        "bootstrap_servers": bootstrap,
        "group_prefix": uuid4().hex,
        "request_timeout_seconds": 2.0,
        "session_timeout_seconds": 2.0,
    }
    log = KafkaEventLog(KafkaOptions(**defaults | settings))
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


async def everything(log: KafkaEventLog, topic: str = TOPIC) -> list[str]:
    reader = log.topic_reader([topic], Start.EARLIEST)
    await reader.start()
    ends = await log.end_offsets([topic])
    found = []
    async with asyncio.timeout(20):
        while any(reader.position(at) < end for at, end in ends.items()):
            found += [one.value.decode() for one in await reader.fetch(1000, 0.5)]
    await reader.stop()
    return found


class Worker:
    """A member that commits what it handled, and no more once its partitions go."""

    def __init__(self, log: KafkaEventLog) -> None:
        self.handled: list[str] = []
        self.reader = log.group_reader("g", [TOPIC], Start.EARLIEST)
        self._task: asyncio.Task | None = None

    async def start(self) -> None:
        await self.reader.start()
        self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while True:
            for at, records in (await self.reader.fetch(7, 5.0)).items():
                self.handled += [one.value.decode() for one in records]
                await asyncio.sleep(0.002)
                await self.reader.commit({at: records[-1].offset + 1})

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.reader.stop()


async def test_members_that_come_and_go_leave_nothing_unhandled(log, eventually) -> None:
    """While members join and leave every record is handled, few twice, and the group's offsets reach the ends."""
    first, second = Worker(log), Worker(log)
    await first.start()
    sent = []
    for n in range(300):
        sent.append(str(n))
        await log.publish([record(str(n), n % 4)])
        if n == 100:
            await second.start()
        if n == 200:
            await first.stop()
    ends = await log.end_offsets([TOPIC])

    async def caught_up() -> bool:
        return await log.committed_offsets("g") == ends

    await eventually(caught_up)
    await second.stop()
    handled = Counter(first.handled + second.handled)
    assert handled.keys() == set(sent)
    assert first.handled
    assert second.handled
    assert handled.total() < 2 * len(sent)


async def test_reliable_consumers_share_a_group(log, topic_map, policy, signal, eventually) -> None:
    """Two of them, one leaving in the midst: every signal is handled, what was handled is committed, nothing comes again.

    The first commits next to never by itself: what it handled is handed over with its partitions.
    """
    payload = topic_map.topics("trading_signal")
    await log.ensure([spec for spec in topic_map.specs() if spec.name in payload])
    handled: list[str] = []

    class Handler:
        async def handle(self, batch) -> None:
            await asyncio.sleep(0.002)
            handled.extend(one.event.event_id for one in batch)

    def consumer(commit_seconds: float) -> ReliableConsumer:
        return ReliableConsumer(
            name="risk.signals",
            service="risk",
            log=log,
            reader=log.group_reader("risk.signals", payload, Start.EARLIEST),
            topic_map=topic_map,
            handler=Handler(),
            dead_letters=DeadLetters(log),
            policy=policy,
            commit_seconds=commit_seconds,
        )

    first, second = consumer(3600), consumer(0.1)
    await first.start()
    events = [signal(n, strategy=f"s{n % 50}") for n in range(300)]
    for n, event in enumerate(events):
        await log.publish([to_record(event, topic_map)])
        if n == 100:
            await second.start()
        if n == 200:
            await first.stop()

    ends = {at: end for at, end in (await log.end_offsets(payload)).items() if end}

    async def all_committed() -> bool:
        return await log.committed_offsets("risk.signals") == ends

    await eventually(all_committed)
    assert second.idle()
    assert not any((await second.lag()).values())
    await second.stop()
    assert sorted(handled) == sorted(event.event_id for event in events)


async def test_a_consumer_without_topics_joins_no_group(log, topic_map, policy) -> None:
    """It starts no loop and connects to nobody, and holds nobody up."""

    class Never:
        async def handle(self, batch) -> None:
            raise AssertionError(batch)

    reader = log.group_reader("empty", (), Start.EARLIEST)
    consumer = ReliableConsumer(
        name="empty",
        service="risk",
        log=log,
        reader=reader,
        topic_map=topic_map,
        handler=Never(),
        dead_letters=DeadLetters(log),
        policy=policy,
    )
    await consumer.start()
    assert "empty" not in {task.get_name() for task in asyncio.all_tasks()}
    assert reader.assigned() == frozenset()
    assert consumer.serving
    assert (consumer.status(), await consumer.lag()) == ([], {})
    await consumer.stop()


async def test_a_member_that_its_group_dropped_commits_nothing_and_comes_back(log, eventually) -> None:
    """A commit of a bygone generation changes nothing; what it had is fetched again by who holds it next."""
    reader = log.group_reader("g", [TOPIC], Start.EARLIEST)
    await reader.start()
    await log.publish([record("a"), record("b")])
    assert len((await reader.fetch(10, 5.0))[FIRST]) == 2
    reader._consumer._coordinator.generation += 1
    await reader.commit({FIRST: 2})
    assert await reader.committed(FIRST) is None
    again = await reader.fetch(10, 10.0)
    assert [one.value for one in again[FIRST]] == [b"a", b"b"]
    await reader.commit({FIRST: 2})
    assert await reader.committed(FIRST) == 2


async def test_an_answer_without_offsets_is_no_offset_of_a_group(log, monkeypatch) -> None:
    """A coordinator that isn't ready answers with nothing: LogUnavailable, or the group would begin anew."""

    async def nothing(*args, **kwargs) -> dict:
        return {}

    monkeypatch.setattr(log._topics._admin, "list_consumer_group_offsets", nothing)
    with pytest.raises(LogUnavailable, match="coordinator isn't ready"):
        await log.committed_offsets("g")


async def test_frames_and_money_of_one_publish_keep_their_places(log) -> None:
    """Compressed and plain topics go by two producers; offsets come back in the order of the records."""
    await log.ensure([TopicSpec("frames", 1, 1, compacted=False)])
    await log.publish([record("0", topic="frames")])
    frames = [record("x" * 2000, topic="frames") for _ in range(2)]
    assert await log.publish([frames[0], record("a"), frames[1], record("b")]) == [1, 0, 2, 1]
    assert await everything(log, "frames") == ["0", "x" * 2000, "x" * 2000]


async def test_the_newest_record_of_a_partition(log) -> None:
    """last() is the newest record, None where there is none."""
    assert await log.last(FIRST) is None
    await log.publish([record(str(n)) for n in range(20)])
    assert (await log.last(FIRST)).value == b"19"


async def test_a_record_that_kafka_refuses_harms_no_later_one(log, eventually) -> None:
    """Too large for a topic: ValueError; the records after it are published all the same."""
    small = NewTopic("small", 1, 1, topic_configs={"max.message.bytes": "1000"})
    await log._topics._admin.create_topics([small])

    async def there() -> bool:
        return "small" in await log.topics()

    await eventually(there)
    await log.publish([record("before", topic="small")])
    with pytest.raises(ValueError, match="larger than Kafka takes"):
        await log.publish([record("x" * 5000, topic="small")])
    with pytest.raises(ValueError, match="'small'"):
        await log.publish([record("x" * 2_000_000, topic="small")])
    for n in range(3):
        await log.publish([record(str(n), topic="small")])
    assert await everything(log, "small") == ["before", "0", "1", "2"]


async def test_ensure_tells_copies_that_differ_and_what_kafka_refuses(log, kafka) -> None:
    """Another replication factor is a difference; a new topic that can't have its copies is named."""
    async with opened(kafka, replication_factor=3) as wants_more:
        assert await wants_more.ensure([SPEC]) == [
            f"topic '{TOPIC}' has replication_factor 1, 3 is wanted; it stays as it is"
        ]
        with pytest.raises(LogUnavailable, match=r"other: .*eplication"):
            await wants_more.ensure([TopicSpec("other", 1, 1, compacted=False)])


async def test_the_leaders_of_many_topics_are_asked_for_at_once(log, kafka, monkeypatch) -> None:
    """Who doesn't know any of twenty topics learns all their leaders with one request, not with one a topic."""
    specs = [TopicSpec(f"many-{n}", 1, None, compacted=False) for n in range(20)]
    await log.ensure(specs)
    async with opened(kafka) as other:
        client = other._connected()._client
        ask, asked = client._metadata_update, []

        def counted(*args):
            asked.append(args)
            return ask(*args)

        monkeypatch.setattr(client, "_metadata_update", counted)
        assert set((await other.end_offsets([spec.name for spec in specs])).values()) == {0}
        assert len(asked) <= 2  # one more where a connection broke meanwhile


async def test_ensure_waits_for_leaders_that_answer_late(log, monkeypatch) -> None:
    """Leaders that answer only after several requests have timed out are waited for."""
    find, late = log.end_offsets, iter([LogUnavailable("10000 ms"), TopicMissing("unknown yet")] * 3)

    async def found(topics):
        for error in late:
            raise error
        return await find(topics)

    monkeypatch.setattr(log, "end_offsets", found)
    assert await log.ensure([SPEC]) == []
    assert next(late, None) is None


async def test_ensure_says_what_is_made_when_leaders_do_not_answer(log, monkeypatch) -> None:
    """Past its budget it says that the topics are made, for what it waited how long, and what Kafka said last."""

    async def never(topics):
        raise LogUnavailable("Failed to get offsets by times in 10000 ms")

    monkeypatch.setattr(log, "end_offsets", never)
    monkeypatch.setattr("alphapanda.eventlog.kafka.log.READY_SECONDS", 0.5)
    with pytest.raises(
        LogUnavailable, match=r"all 1 topics were created, .* within 0\.5 s; .*\(Failed to get"
    ):
        await log.ensure([SPEC])


async def test_a_creation_that_outlasts_its_request_is_waited_for(log, monkeypatch) -> None:
    """A broker that answers with a time-out goes on creating: the topic is there when `ensure` returns."""
    admin = log._topics._connected()
    create = admin.create_topics

    async def slow(new):
        answer = await create(new)
        answer.topic_errors = [(name, RequestTimedOutError.errno, None) for name, _, _ in answer.topic_errors]
        return answer

    monkeypatch.setattr(admin, "create_topics", slow)
    assert await log.ensure([TopicSpec("slow", 1, None, compacted=False)]) == []
    assert "slow" in await log.topics()


async def test_a_kafka_that_is_away_is_unavailable_until_it_comes() -> None:
    """start() fails in a moment and names the address; nothing is left behind."""
    log = KafkaEventLog(KafkaOptions(bootstrap_servers="127.0.0.1:1", request_timeout_seconds=1.0))
    for _ in range(2):
        with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1"):
            await log.start()
    with pytest.raises(LogUnavailable, match="not open"):
        await log.end_offsets([TOPIC])


async def test_nothing_acknowledged_is_lost_when_the_broker_is_killed(fragile, eventually) -> None:
    """Kill -9 in the midst of publishing: what was acknowledged is there, in order, and publishing goes on by itself."""
    async with opened(fragile.bootstrap) as log:
        await log.ensure([SPEC])
        acknowledged: list[list[int]] = [[], []]
        enough = asyncio.Event()

        async def publishes(partition: int) -> None:
            n = 0
            while not enough.is_set():
                try:
                    await log.publish([record(f"{partition}:{n}", partition)])
                except LogUnavailable:
                    await asyncio.sleep(0.1)
                    continue
                acknowledged[partition].append(n)
                n += 1

        tasks = [asyncio.create_task(publishes(partition)) for partition in range(2)]
        reader = log.group_reader("g", [TOPIC], Start.EARLIEST)
        await reader.start()
        await asyncio.sleep(0.5)
        fragile.kill()
        await asyncio.sleep(1.0)
        before = sum(map(len, acknowledged))
        await asyncio.to_thread(fragile.start)
        await eventually(lambda: sum(map(len, acknowledged)) >= before + 100)
        enough.set()
        await asyncio.gather(*tasks)

        found = await everything(log)
        for partition in range(2):
            mine = [int(text.split(":")[1]) for text in found if text.startswith(f"{partition}:")]
            once = list(dict.fromkeys(mine))
            assert once == sorted(once)
            assert set(acknowledged[partition]) <= set(once)
        by_group: list[str] = []
        async with asyncio.timeout(30):
            while len(set(by_group)) < len(set(found)):
                for records in (await reader.fetch(1000, 1.0)).values():
                    by_group += [one.value.decode() for one in records]


async def test_it_ends_in_order_while_kafka_is_away(fragile) -> None:
    """With records that can't be sent any more, readers and log end without an error, and nothing is left unclosed."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    log = KafkaEventLog(
        KafkaOptions(
            bootstrap_servers=fragile.bootstrap, group_prefix=uuid4().hex, request_timeout_seconds=1.0
        )
    )
    await log.start()
    await log.ensure([SPEC])
    member, reader = log.group_reader("g", [TOPIC], Start.EARLIEST), log.topic_reader([TOPIC], Start.EARLIEST)
    await member.start()
    await reader.start()
    await log.publish([record("before")])
    fragile.kill()
    try:
        with pytest.raises(LogUnavailable):
            await log.publish([record("unsent")])
        await asyncio.sleep(1.0)  # so that the readers are between two attempts
        await member.stop()
        await log.stop()
        del log, member, reader
        gc.collect()
        await asyncio.sleep(0)
    finally:
        await asyncio.to_thread(fragile.start)
    assert complaints == []


async def test_a_publish_repeated_over_a_freeze_is_on_the_log_once(fragile) -> None:
    """A frozen broker: publish is refused in time; repeated, it waits for the first and adds no copy."""
    async with opened(fragile.bootstrap) as log:
        await log.ensure([TopicSpec("frozen", 1, None, compacted=False)])
        await log.publish([record("before", topic="frozen")])
        fragile.pause()
        try:
            for _ in range(2):
                with pytest.raises(LogUnavailable):
                    await log.publish([record("kept", topic="frozen"), record("whole", topic="frozen")])
        finally:
            fragile.resume()
        async with asyncio.timeout(20):
            while True:
                try:
                    await log.publish([record("kept", topic="frozen"), record("whole", topic="frozen")])
                    break
                except LogUnavailable:
                    continue
        assert await everything(log, "frozen") in (
            ["before", "kept", "whole"],
            ["before", "kept", "whole", "kept", "whole"],  # it was acknowledged between two attempts
        )
