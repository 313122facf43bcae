"""The reliable consumer on a real log: each kind of failure does what rule 5 says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from alphapanda.consuming.consumer import ReliableConsumer
from alphapanda.consuming.dead_letters import DeadLetters
from alphapanda.consuming.delivery import Delivery
from alphapanda.contract.topics import TopicPartition, dead_letter_topic
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.port import LogUnavailable, Record, Start
from alphapanda.resilience.failures import TransientFailure
from alphapanda.telemetry.correlation import current_correlation_id

GROUP = "risk.signals"
WALL_TIME = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)


class Books:
    """A handler with an effect per event id, and failures that a test plans by event id."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.calls: list[list[str]] = []
        self.failures: dict[str, list[Exception]] = {}
        self.broken: dict[str, Exception] = {}
        self.running = self.most_running = 0
        self.pause = asyncio.Event()
        self.pause.set()
        self.correlations: list[str] = []

    async def handle(self, batch: Sequence[Delivery]) -> None:
        assert len({one.record.topic_partition for one in batch}) == 1
        ids = [one.event.event_id for one in batch]
        self.calls.append(ids)
        self.correlations.append(current_correlation_id.get())
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(0)
            await self.pause.wait()
            for one in ids:
                if one in self.broken:
                    raise self.broken[one]
                if self.failures.get(one):
                    raise self.failures[one].pop()
            self.effects = list(dict.fromkeys(self.effects + ids))
        finally:
            self.running -= 1


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
async def consume(deployed, topic_map, policy, books):
    """Starts a consumer of a payload; stops it at the end."""
    started = []

    async def start(payload: str = "trading_signal", **other) -> ReliableConsumer:
        start_at = other.pop("start", Start.EARLIEST)
        reader = other.pop("reader", None) or deployed.group_reader(
            GROUP, topic_map.topics(payload), start_at
        )
        consumer = ReliableConsumer(
            name=GROUP,
            service="risk",
            log=deployed,
            reader=reader,
            topic_map=topic_map,
            handler=other.pop("handler", books),
            dead_letters=other.pop("dead_letters", DeadLetters(deployed)),
            policy=other.pop("policy", policy),
            wall_clock=lambda: WALL_TIME,
            **other,
        )
        await consumer.start()
        started.append(consumer)
        return consumer

    yield start
    for consumer in started:
        await consumer.stop()


@pytest.fixture
def dead(deployed, topic_map):
    """Reads the dead letters of a payload's topics."""

    async def read(payload: str) -> list:
        reader = deployed.topic_reader(
            [dead_letter_topic(t) for t in topic_map.topics(payload)], Start.EARLIEST
        )
        await reader.start()
        return list(await reader.fetch(1000, 0.0))

    return read


def status(consumer: ReliableConsumer, broker: str = "paper"):
    [found] = [one for one in consumer.status() if one.broker == broker]
    return found


def ids(events) -> list[str]:
    return [event.event_id for event in events]


async def test_records_are_handled_in_order_and_committed_after(
    deployed, consume, publish, settled, eventually, books, signal, topic_map
) -> None:
    """A partition's records reach the handler in order; the group's offset follows the effects."""
    events = [signal(n) for n in range(40)]
    await publish(*events)
    consumer = await consume()
    await settled(consumer)
    await eventually(consumer.settled)
    assert books.effects == ids(events)
    record = to_record(events[0], topic_map)

    async def committed() -> bool:
        return await deployed.committed_offsets(GROUP) == {TopicPartition(record.topic, record.partition): 40}

    await eventually(committed)
    assert status(consumer).processed == 40
    assert consumer.serving


async def test_nothing_is_committed_before_its_effect(
    deployed, consume, publish, eventually, settled, books, signal
) -> None:
    """While the handler runs the group has no offset for the batch, the lag shows it, and nothing is idle."""
    books.pause.clear()
    await publish(signal(1))
    consumer = await consume()
    await eventually(lambda: books.running == 1)
    assert await deployed.committed_offsets(GROUP) == {}
    assert (await consumer.lag())["paper"] == 1
    assert not await consumer.settled()
    assert not consumer.idle()
    books.pause.set()
    await settled(consumer)

    async def committed() -> bool:
        return list((await deployed.committed_offsets(GROUP)).values()) == [1]

    await eventually(committed)


class Commits:
    """A group reader whose commits are counted, and fail where a test says so."""

    def __init__(self, reader) -> None:
        self._reader = reader
        self.made: list[dict[TopicPartition, int]] = []
        self.away = False

    def __getattr__(self, name: str):
        return getattr(self._reader, name)

    async def commit(self, offsets) -> None:
        if self.away:
            raise LogUnavailable("away")
        self.made.append(dict(offsets))
        await self._reader.commit(offsets)


@pytest.fixture
def commits(deployed, topic_map):
    """Makes group readers whose commits are counted."""
    return lambda: Commits(deployed.group_reader(GROUP, topic_map.topics("trading_signal"), Start.EARLIEST))


async def test_offsets_are_committed_at_an_interval_for_all_partitions(
    deployed, consume, publish, settled, eventually, books, signal, commits
) -> None:
    """Batches one after the other, of several partitions, wait for no commit and share the next one."""
    reader = commits()
    consumer = await consume(reader=reader, commit_seconds=0.2)
    for n in range(20):
        await publish(signal(n, strategy=f"s{n}"))
        await settled(consumer)
    assert len(books.calls) == 20

    async def committed() -> bool:
        ends = await deployed.end_offsets(sorted({at.topic for at in reader.assigned()}))
        return await deployed.committed_offsets(GROUP) == {at: end for at, end in ends.items() if end}

    await eventually(committed)
    assert len(reader.made) < 20
    assert any(len(offsets) > 1 for offsets in reader.made)


async def test_what_was_handled_and_not_committed_comes_again(
    deployed, consume, publish, settled, eventually, books, signal, commits
) -> None:
    """A member that is gone between handling and commit: its records are handled again and have one effect each."""
    reader = commits()
    reader.away = True
    events = [signal(n) for n in range(5)]
    await publish(*events)
    consumer = await consume(reader=reader)
    await settled(consumer)
    await eventually(lambda: not consumer.serving)
    assert status(consumer).last_error == "LogUnavailable: away"
    await consumer.stop()
    assert await deployed.committed_offsets(GROUP) == {}
    handled = sum(map(len, books.calls))
    await settled(await consume())
    assert sum(map(len, books.calls)) == handled + 5 == 10
    assert books.effects == ids(events)


async def test_a_clean_stop_repeats_nothing(consume, publish, settled, books, signal, commits) -> None:
    """What was handled since the last commit is committed at the stop; the next member goes on behind it."""
    reader = commits()
    consumer = await consume(reader=reader, commit_seconds=3600)
    for n in range(6):
        await publish(signal(n, strategy=f"s{n % 3}"))
        await settled(consumer)
    await consumer.stop()
    assert len(reader.made) == 2
    await publish(signal(9))
    await settled(await consume())
    assert sum(map(len, books.calls)) == 7


async def test_a_rebalance_hands_over_where_it_was_handled(
    consume, publish, settled, books, signal, commits
) -> None:
    """Between two commits partitions go to another member: it begins behind what was handled, and repeats nothing."""
    first = await consume(reader=commits(), commit_seconds=3600)
    for n in range(30):
        await publish(signal(n, strategy=f"s{n}"))
        await settled(first)
    second = await consume(reader=commits(), commit_seconds=3600)
    await publish(*(signal(n, strategy=f"s{n}") for n in range(30, 60)))
    await settled(first)
    await settled(second)
    assert len(books.effects) == 60
    assert sum(map(len, books.calls)) == 60


async def test_a_duplicate_reaches_the_handler_again(consume, publish, settled, books, signal) -> None:
    """The consumer hands over every record; to absorb a repetition is the handler's inbox's work."""
    await publish(signal(1), signal(1))
    consumer = await consume()
    await settled(consumer)
    assert sum(map(len, books.calls)) == 2
    assert books.effects == ids([signal(1)])


async def test_partitions_are_handled_side_by_side_and_each_by_one_task(
    consume, publish, settled, books, signal, eventually, policy
) -> None:
    """Different partitions run concurrently, up to the setting."""
    books.pause.clear()
    await publish(*(signal(n, strategy=f"s{n}") for n in range(40)))
    consumer = await consume(policy=replace(policy, concurrency=3))
    await eventually(lambda: books.running == 3)
    books.pause.set()
    await settled(consumer)
    assert books.most_running == 3
    assert len(books.effects) == 40


@pytest.mark.parametrize(
    "failure",
    [
        TransientFailure("PostgreSQL is away"),
        LogUnavailable("away"),
        ConnectionResetError("reset"),
        TimeoutError(),
    ],
    ids=lambda failure: type(failure).__name__,
)
@pytest.mark.parametrize("payload", ["trading_signal", "tick_frame"])
async def test_a_transient_failure_is_tried_until_it_works(
    consume, publish, settled, books, signal, frame, failure, payload, dead
) -> None:
    """The batch waits and is handled whole later, in order; nothing is dead-lettered, on no kind of topic."""
    events = [(signal if payload == "trading_signal" else frame)(n) for n in range(3)]
    books.failures[events[1].event_id] = [failure] * 10
    await publish(*events)
    consumer = await consume(payload)
    await settled(consumer)
    assert books.effects == ids(events)
    assert await dead(payload) == []
    told = status(consumer, events[0].broker)
    assert (told.processed, told.failed, told.retried, told.dead_lettered) == (3, 10, 10, 0)
    assert told.last_error.startswith(type(failure).__name__)
    assert told.last_error_at == WALL_TIME
    assert told.paused == ()
    assert consumer.serving


async def test_a_waiting_partition_holds_up_no_other_and_is_seen(
    consume, publish, eventually, books, signal
) -> None:
    """One broker's database is away: its partition is shown as paused, NOT_SERVING; the other broker trades on."""
    stuck, other = signal(1, "paper"), [signal(n, "zerodha") for n in range(5)]
    books.broken[stuck.event_id] = TransientFailure("away")
    await publish(stuck, *other)
    consumer = await consume()
    await eventually(lambda: books.effects == ids(other))
    await eventually(lambda: status(consumer).failed > 2)
    [place] = status(consumer).paused
    assert place.startswith("paper.")
    assert place.endswith("@0")
    assert status(consumer, "zerodha").paused == ()
    assert status(consumer, "zerodha").failed == 0
    assert not consumer.serving
    assert (await consumer.lag()) == {"paper": 1, "zerodha": 0}
    books.broken.clear()
    await eventually(lambda: consumer.serving)
    assert stuck.event_id in books.effects


async def test_waits_grow_and_are_cut_by_chance(consume, publish, settled, books, signal, policy) -> None:
    """Waits double up to the longest; chance cuts each to half at most."""
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    event = signal(1)
    books.failures[event.event_id] = [TransientFailure("away")] * 7
    await publish(event)
    consumer = await consume(
        policy=replace(policy, backoff_initial_seconds=1.0, backoff_max_seconds=10.0),
        sleep=sleep,
        chance=iter([0.0, *[0.999999] * 6]).__next__,
    )
    await settled(consumer)
    assert [round(wait, 3) for wait in waits] == [0.5, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


@pytest.mark.parametrize("payload", ["trading_signal", "tick_frame"])
async def test_bytes_that_are_no_event_are_dead_lettered_at_once(
    deployed, consume, publish, settled, books, signal, frame, payload, dead, topic_map
) -> None:
    """The dead letter has the original bytes, key and headers, says why, whence and for which group; the rest goes on."""
    events = [(signal if payload == "trading_signal" else frame)(n) for n in range(2)]
    good = to_record(events[0], topic_map)
    await publish(events[0])
    await deployed.publish([Record(good.topic, good.partition, b"a key", b"\xff\x00junk", (("x", b"y"),))])
    await publish(events[1])
    consumer = await consume(payload)
    await settled(consumer)
    assert books.effects == ids(events)
    [letter] = await dead(payload)
    assert (letter.key, letter.value, letter.partition) == (b"a key", b"\xff\x00junk", good.partition)
    headers = dict(letter.headers)
    assert headers.pop("dlq_detail")
    assert headers == {
        "x": b"y",
        "dlq_reason": b"UNDECODABLE",
        "dlq_group": GROUP.encode(),
        "dlq_topic": good.topic.encode(),
        "dlq_partition": str(good.partition).encode(),
        "dlq_offset": b"1",
    }
    told = status(consumer, events[0].broker)
    assert (told.processed, told.dead_lettered) == (2, 1)
    assert consumer.serving


async def test_an_event_that_breaks_a_rule_or_is_on_a_wrong_topic_is_dead_lettered(
    deployed, consume, publish, settled, books, signal, frame, dead, topic_map
) -> None:
    """Invalid fields, another broker's event, another payload, a payload from the future, a key of another position: each with its reason."""
    good = to_record(signal(1), topic_map)
    invalid, foreign = signal(2), signal(3, "zerodha")
    invalid.trading_signal.instrument_token = 0
    records = [
        (invalid.SerializeToString(), ()),
        (foreign.SerializeToString(), ()),
        (frame(1).SerializeToString(), ()),
        (b"", (("ce_type", b"panda.events.v1.FromTheFuture"),)),
    ]
    await deployed.publish([Record(good.topic, good.partition, b"k", value, more) for value, more in records])
    await deployed.publish([Record(good.topic, good.partition, b"other:1", good.value, good.headers)])
    await publish(signal(1))
    consumer = await consume()
    await settled(consumer)
    assert books.effects == ids([signal(1)])
    letters = [dict(letter.headers) for letter in await dead("trading_signal")]
    assert [letter["dlq_reason"].decode() for letter in letters] == [
        "INVALID",
        "WRONG_BROKER",
        "WRONG_TOPIC",
        "UNKNOWN_TYPE",
        "WRONG_KEY",
    ]
    assert b"trading_signal.instrument_token: 0 is not allowed" in letters[0]["dlq_detail"]
    assert b"'zerodha' on a topic of 'paper'" in letters[1]["dlq_detail"]


async def test_a_payload_from_the_future_is_passed_over_on_market_data(
    deployed, consume, publish, settled, books, frame, dead, topic_map
) -> None:
    """Who can't know a new type doesn't need it, where no money hangs on it."""
    good = to_record(frame(1), topic_map)
    future = Record(good.topic, good.partition, b"k", b"", (("ce_type", b"panda.events.v1.FromTheFuture"),))
    await deployed.publish([future])
    await publish(frame(1))
    consumer = await consume("tick_frame")
    await settled(consumer)
    assert books.effects == ids([frame(1)])
    assert await dead("tick_frame") == []


async def test_a_bug_on_market_data_costs_one_frame(
    consume, publish, settled, books, frame, dead, policy
) -> None:
    """The record that fails again and again becomes a dead letter with the error; its neighbours are handled."""
    events = [frame(n) for n in range(6)]
    books.broken = {events[n].event_id: KeyError("no such instrument") for n in (2, 4)}
    await publish(*events)
    consumer = await consume("tick_frame")
    await settled(consumer)
    assert books.effects == ids(events[n] for n in (0, 1, 3, 5))
    letters = [dict(letter.headers) for letter in await dead("tick_frame")]
    assert [letter["dlq_offset"] for letter in letters] == [b"2", b"4"]
    assert {letter["dlq_reason"] for letter in letters} == {b"BUG"}
    assert {letter["dlq_detail"] for letter in letters} == {b"KeyError: 'no such instrument'"}
    for broken in books.broken:
        assert books.calls.count([broken]) == policy.bug_attempts
    assert status(consumer, "").dead_lettered == 2
    assert consumer.serving


async def test_a_bug_that_passes_is_no_dead_letter(consume, publish, settled, books, signal, dead) -> None:
    """Fewer failures than `bug_attempts` are only retries."""
    event = signal(1)
    books.failures[event.event_id] = [ValueError("once"), ValueError("twice")]
    await publish(event)
    consumer = await consume()
    await settled(consumer)
    assert books.effects == [event.event_id]
    assert await dead("trading_signal") == []
    assert (status(consumer).failed, status(consumer).retried) == (2, 2)


async def test_without_parking_a_bug_on_money_stops_its_partition_and_only_that(
    deployed, consume, publish, eventually, books, signal, dead, topic_map
) -> None:
    """Nothing behind the record is handled or skipped; its offset stays; an alarm and NOT_SERVING; others go on."""
    events = [signal(n) for n in range(5)]
    books.broken[events[2].event_id] = KeyError("a bug")
    with capture_logs() as logs:
        await publish(*events)
        consumer = await consume()
        await eventually(lambda: bool(status(consumer).paused) and consumer.idle() is False)
        await eventually(lambda: any(line.get("alarm") for line in logs))
    others = [signal(n, "zerodha") for n in range(3)]
    await publish(*others, signal(9))
    await eventually(lambda: books.effects == ids(events[:2]) + ids(others))
    await asyncio.sleep(0.05)
    assert books.effects == ids(events[:2]) + ids(others)
    record = to_record(events[0], topic_map)
    place = f"{record.topic}/{record.partition}"
    assert status(consumer).paused == (f"{place}@2",)
    assert not consumer.serving
    assert (await consumer.lag())["paper"] == 4
    assert await dead("trading_signal") == []

    async def committed() -> bool:
        offsets = await deployed.committed_offsets(GROUP)
        return {f"{at.topic}/{at.partition}": n for at, n in offsets.items()}.get(place) == 2

    await eventually(committed)
    [alarm] = [line for line in logs if line.get("alarm")]
    assert alarm["places"] == [f"{place}@2"]

    await consumer.stop()
    books.broken.clear()
    again = await consume()
    await eventually(
        lambda: books.effects == ids(events[:2]) + ids(others) + ids(events[2:]) + ids([signal(9)])
    )
    assert again.serving


async def test_a_dead_letter_topic_that_is_away_holds_the_partition(
    deployed, consume, publish, settled, books, signal, topic_map, dead
) -> None:
    """What can't be dead-lettered is not skipped: the partition waits until the letter is stored, once."""

    class Away(DeadLetters):
        failures = 3

        async def send(self, record, **why) -> None:
            if Away.failures:
                Away.failures -= 1
                raise LogUnavailable("disk full")
            await super().send(record, **why)

    good = to_record(signal(1), topic_map)
    await deployed.publish([Record(good.topic, good.partition, b"k", b"\xff")])
    await publish(signal(1))
    consumer = await consume(dead_letters=Away(deployed))
    await settled(consumer)
    assert books.effects == ids([signal(1)])
    assert len(await dead("trading_signal")) == 1
    assert status(consumer).failed == 3


async def test_a_log_that_cant_be_read_is_tried_again(
    deployed, consume, publish, settled, books, signal, topic_map, eventually
) -> None:
    """A failing fetch is counted, makes the consumer NOT_SERVING, and heals."""
    reader = deployed.group_reader(GROUP, topic_map.topics("trading_signal"), Start.EARLIEST)
    fetch, away = reader.fetch, True

    async def failing(max_records: int, timeout: float):
        if away:
            raise LogUnavailable("reading postgresql://u:hunter2@host failed")  # pragma: allowlist secret
        return await fetch(max_records, timeout)

    reader.fetch = failing
    await publish(signal(1))
    consumer = await consume(reader=reader)
    await eventually(lambda: status(consumer).failed > 3)
    assert not consumer.serving
    assert "hunter2" not in status(consumer).last_error
    away = False
    await settled(consumer)
    assert consumer.serving
    assert books.effects == ids([signal(1)])


async def test_a_consumer_without_topics_starts_no_loop(deployed, consume) -> None:
    """There is nothing it could wait for: no task is left running, and it holds nobody up."""
    before = asyncio.all_tasks()
    consumer = await consume(reader=deployed.group_reader(GROUP, (), Start.EARLIEST))
    assert asyncio.all_tasks() == before
    assert consumer.serving
    assert consumer.idle()
    assert (consumer.status(), await consumer.lag()) == ([], {})
    await consumer.stop()


async def test_stop_finishes_the_batch_in_hand(deployed, consume, publish, eventually, books, signal) -> None:
    """A batch that is being handled at stop has its effect and its commit."""
    books.pause.clear()
    await publish(signal(1))
    consumer = await consume()
    await eventually(lambda: books.running == 1)
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.sleep(0.01)
    assert not stopping.done()
    books.pause.set()
    await stopping
    assert books.effects == ids([signal(1)])
    assert list((await deployed.committed_offsets(GROUP)).values()) == [1]
    assert not consumer.serving


async def test_stop_abandons_what_takes_too_long_and_what_waits(
    deployed, consume, publish, eventually, books, signal
) -> None:
    """A handler that hangs is cancelled after the bound, a back-off at once; neither is committed."""
    books.pause.clear()
    away = signal(1, "zerodha")
    await publish(signal(1), away)
    consumer = await consume(drain_seconds=0.05)
    await eventually(lambda: books.running == 2)
    async with asyncio.timeout(20):
        await consumer.stop()
    assert books.effects == []
    assert await deployed.committed_offsets(GROUP) == {}


async def test_a_partition_that_goes_to_another_member_is_finished_first(
    deployed, consume, publish, eventually, settled, books, signal
) -> None:
    """At a rebalance the batch in hand ends before the new holder begins: no record is handled twice."""
    books.pause.clear()
    events = [signal(n, strategy=f"s{n}") for n in range(30)]
    await publish(*events)
    first = await consume()
    await eventually(lambda: books.running > 0)
    joining = asyncio.create_task(consume())
    await asyncio.sleep(0.02)
    assert not joining.done()
    books.pause.set()
    second = await joining
    await settled(first)
    await settled(second)
    handled = [one for call in books.calls for one in call]
    assert sorted(handled) == sorted(ids(events))


async def test_the_services_assignment_runs_before_the_first_record_and_is_retried(
    deployed, consume, publish, settled, books, signal, eventually
) -> None:
    """Open rows are resumed before consuming; a database that is away then delays the partitions, visibly."""

    class Resumes:
        def __init__(self) -> None:
            self.failures = 3
            self.told: list = []

        async def on_assigned(self, partitions) -> None:
            assert books.calls == []
            if self.failures:
                self.failures -= 1
                raise TransientFailure("away")
            self.told.append(("+", len(partitions)))

        async def on_revoked(self, partitions) -> None:
            self.told.append(("-", len(partitions)))

    await publish(signal(1), signal(2))
    resumes = Resumes()
    consumer = await consume(assignment=resumes)
    await settled(consumer)
    assert books.effects == ids([signal(1), signal(2)])
    assert status(consumer).failed == 3
    await consumer.stop()
    assert resumes.told == [("+", 16), ("-", 16)]


async def test_a_bug_in_the_services_assignment_stops_the_partitions(
    consume, publish, books, signal, eventually
) -> None:
    """Nothing is consumed where open rows could not be resumed."""

    class Broken:
        async def on_assigned(self, partitions) -> None:
            raise KeyError("a bug")

        async def on_revoked(self, partitions) -> None:
            return

    await publish(signal(1))
    consumer = await consume(assignment=Broken())
    await eventually(lambda: len(status(consumer).paused) == 8)
    assert not consumer.serving
    assert books.calls == []


async def test_a_single_record_is_handled_under_its_correlation(
    consume, publish, settled, books, signal
) -> None:
    """Log lines of a single event's handling carry its chain; nothing of it is left afterwards."""
    await publish(signal(1))
    consumer = await consume()
    await settled(consumer)
    assert books.correlations == [signal(1).correlation_id]
    assert current_correlation_id.get() == ""


async def test_an_open_circuit_rests_one_broker_and_closes_by_itself(
    consume, publish, eventually, books, signal, policy
) -> None:
    """After so many failures in a row nothing of that broker is tried until its time is over; the other trades on."""
    stuck = [signal(n, "paper", f"s{n}") for n in range(6)]
    others = [signal(n, "zerodha") for n in range(5)]
    for event in stuck:
        books.broken[event.event_id] = TransientFailure("the broker's edge is down", "broker")
    await publish(*stuck)
    with capture_logs() as logs:
        consumer = await consume(policy=replace(policy, breaker_failures=4, breaker_seconds=0.3))
        await eventually(lambda: status(consumer).last_error.startswith("circuit to broker is open"))
        tried = len(books.calls)
        await publish(*others)
        await eventually(lambda: set(books.effects) == set(ids(others)))
        assert not consumer.serving
        of_paper = [call for call in books.calls[tried:] if call[0] in ids(stuck)]
        assert len(of_paper) <= 4 + 2, "what was under way, and at most a probe or two"
        assert status(consumer, "zerodha").last_error == ""
        books.broken.clear()
        await eventually(lambda: set(books.effects) == set(ids(others) + ids(stuck)))
    await eventually(lambda: consumer.serving)
    told = [line["event"] for line in logs if line["event"].startswith("breaker.")]
    assert told == ["breaker.opened", "breaker.closed"]


async def test_malformed_records_between_good_ones(
    deployed, consume, publish, settled, books, signal, topic_map, dead, policy
) -> None:
    """As many that nobody can read as good ones: each in the dead letters with reason and offset, the good in order."""
    pairs = 1500
    good = [to_record(signal(n), topic_map) for n in range(pairs)]
    place = good[0]
    bad = [b"\xff\x00junk", b"", good[0].value[:-3], to_record(signal(0, "zerodha"), topic_map).value]
    records = []
    for n, record in enumerate(good):
        records += [Record(place.topic, place.partition, place.key, bad[n % len(bad)]), record]
    await deployed.publish(records)
    consumer = await consume(policy=replace(policy, batch_size=500))
    await settled(consumer)
    assert books.effects == ids(signal(n) for n in range(pairs))
    assert status(consumer).dead_lettered == pairs
    reader = deployed.topic_reader([dead_letter_topic(place.topic)], Start.EARLIEST)
    await reader.start()
    letters = []
    while len(letters) < pairs:
        letters += await reader.fetch(1000, 1.0)
    assert [int(dict(one.headers)["dlq_offset"]) for one in letters] == [2 * n for n in range(pairs)]
    assert [one.value for one in letters] == [bad[n % len(bad)] for n in range(pairs)]
    assert {dict(one.headers)["dlq_reason"] for one in letters} == {
        b"UNDECODABLE",
        b"INVALID",
        b"WRONG_BROKER",
    }


async def test_a_handler_that_fails_on_most_records_stops_the_consumer(
    deployed, consume, publish, eventually, settled, books, frame, dead, policy, topic_map
) -> None:
    """A bad version sets aside `bug_stop_least` - 1 records, not the topic; it says so; a good one goes on where it stood."""
    events = [frame(n) for n in range(40)]
    books.broken = {event.event_id: KeyError("a bug") for event in events}
    junk = to_record(events[0], topic_map)
    await deployed.publish([Record(junk.topic, junk.partition, junk.key, b"\xff")] * 20)
    await publish(*events)
    with capture_logs() as logs:
        bad = await consume("tick_frame", policy=replace(policy, bug_stop_least=4))
        await eventually(lambda: status(bad, "").last_error.startswith("stopped"))
        await eventually(lambda: bool(status(bad, "").paused))
    assert not bad.serving
    told = status(bad, "")
    assert told.last_error.startswith("stopped: 4 of the last 4 valid records failed as bugs; run a version")
    assert "KeyError: 'a bug'" in told.last_error
    assert [line["event"] for line in logs if line.get("alarm")] == ["consumer.stopped", "consumer.halted"]
    reasons = [dict(letter.headers)["dlq_reason"] for letter in await dead("tick_frame")]
    assert reasons == [b"UNDECODABLE"] * 20 + [b"BUG"] * 3
    await publish(frame(40))
    await asyncio.sleep(0.02)
    assert told.dead_lettered == status(bad, "").dead_lettered == 23
    await bad.stop()
    books.broken.clear()
    await settled(await consume("tick_frame"))
    assert books.effects == ids([*events[3:], frame(40)])


async def test_undecodable_records_never_stop_a_consumer(
    deployed, consume, publish, settled, books, frame, policy, topic_map
) -> None:
    """Neither do a few bugs among many records: it takes the share and the least count."""
    events = [frame(n) for n in range(20)]
    books.broken = {event.event_id: KeyError("a bug") for event in events[:12:2]}
    junk = to_record(events[0], topic_map)
    for event in events:
        await deployed.publish([Record(junk.topic, junk.partition, junk.key, b"\xff")] * 3)
        await publish(event)
    consumer = await consume("tick_frame", policy=replace(policy, bug_stop_least=2, bug_stop_percent=70))
    await settled(consumer)
    assert consumer.serving
    assert books.effects == ids(event for event in events if event.event_id not in books.broken)


async def test_a_stopped_consumer_stops_in_every_partition(
    consume, publish, eventually, books, signal, policy
) -> None:
    """The partitions of a broker without a bug stand still too, and nothing is skipped in any."""
    bad = [signal(n, strategy=f"s{n}") for n in range(4)]
    books.broken = {event.event_id: KeyError("a bug") for event in bad}
    await publish(*bad)
    consumer = await consume(policy=replace(policy, bug_stop_least=1))
    await eventually(lambda: status(consumer).last_error.startswith("stopped"))
    others = [signal(n, "zerodha") for n in range(3)]
    await publish(*others)
    await eventually(lambda: bool(status(consumer, "zerodha").paused))
    assert books.effects == []
    assert (await consumer.lag())["zerodha"] == len(others)
