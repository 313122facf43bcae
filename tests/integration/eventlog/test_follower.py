"""Topics read whole: control from the first record, frames from now on."""

from __future__ import annotations

import pytest

from alphapanda.consuming.follower import TopicFollower
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.port import Record, Start
from alphapanda.resilience.failures import TransientFailure
from panda.common.v1 import common_pb2
from panda.events.v1.events_pb2 import Event


def kill_switch(broker: str, revision: int, signal) -> Event:
    """The kill switch of a broker, set for the n-th time."""
    like = signal(revision)
    event = Event(
        event_id=like.event_id,
        correlation_id=like.correlation_id,
        source="risk",
        occurred_at=like.occurred_at,
    )
    event.kill_switch_changed.broker = broker
    event.kill_switch_changed.revision = revision
    event.kill_switch_changed.state = common_pb2.TRADING_STATE_HALTED
    return event


class Seen:
    """A callback that keeps what it was given, and fails as planned."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.failures: list[Exception] = []

    async def __call__(self, event: Event) -> None:
        if self.failures:
            raise self.failures.pop()
        self.ids.append(event.event_id)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def follow(deployed, topic_map, policy, seen):
    started = []

    async def start(payload: str, start: Start) -> TopicFollower:
        follower = TopicFollower(
            name="trading.control",
            service="trading",
            log=deployed,
            topic_map=topic_map,
            payload=payload,
            on_event=seen,
            start=start,
            policy=policy,
        )
        started.append(follower)
        await follower.start()
        return follower

    yield start
    for follower in started:
        await follower.stop()


@pytest.fixture
def publish(deployed, topic_map):
    async def publish(*events) -> None:
        await deployed.publish([to_record(event, topic_map) for event in events])

    return publish


async def test_control_is_known_before_start_returns_and_followed_after(
    follow, publish, seen, signal, eventually
) -> None:
    """All that is on the topic is handed over first, in order; what comes later follows by itself."""
    events = [kill_switch("paper", n, signal) for n in (1, 2, 3)]
    await publish(*events[:2])
    follower = await follow("kill_switch_changed", Start.EARLIEST)
    assert seen.ids == [event.event_id for event in events[:2]]
    assert await follower.settled()
    await publish(events[2])
    await eventually(lambda: len(seen.ids) == 3)
    await eventually(follower.settled)
    assert follower.serving
    assert [(one.broker, one.processed) for one in follower.status()] == [("", 3)]


async def test_an_empty_topic_is_no_obstacle(follow, seen) -> None:
    """Nothing on the log means settled at once."""
    follower = await follow("strategy_changed", Start.EARLIEST)
    assert await follower.settled()
    assert seen.ids == []


async def test_frames_are_followed_from_now_on(follow, publish, seen, frame, eventually) -> None:
    """LATEST skips what was there and gets every partition from then on."""
    await publish(frame(1))
    await follow("tick_frame", Start.LATEST)
    await publish(*(frame(2, shard) for shard in range(4)))
    await eventually(lambda: len(seen.ids) == 4)
    assert sorted(seen.ids) == sorted(frame(2, shard).event_id for shard in range(4))


async def test_a_transient_failure_is_waited_out(follow, publish, seen, signal, eventually) -> None:
    """The event is handed over again until it is taken; order is kept."""
    follower = await follow("kill_switch_changed", Start.EARLIEST)
    seen.failures = [TransientFailure("Redis is away")] * 5
    events = [kill_switch("paper", n, signal) for n in (1, 2)]
    await publish(*events)
    await eventually(lambda: seen.ids == [event.event_id for event in events])
    await eventually(lambda: follower.serving)
    assert [(one.failed, one.retried, one.paused) for one in follower.status()] == [(5, 5, ())]


async def test_a_bug_ends_the_following_of_control(follow, publish, seen, signal, eventually) -> None:
    """On control topics nothing is passed over: it stops, visibly."""
    follower = await follow("kill_switch_changed", Start.EARLIEST)
    seen.failures = [KeyError("a bug")]
    await publish(kill_switch("paper", 1, signal), kill_switch("paper", 2, signal))
    await eventually(lambda: not follower.serving)
    assert seen.ids == []
    assert await follower.lag() == {"": 2}
    [told] = follower.status()
    assert told.last_error == "KeyError: 'a bug'"
    assert told.paused[0].endswith("/0@0")
    assert not await follower.settled()


async def test_a_bug_costs_one_frame(follow, publish, seen, frame, eventually) -> None:
    """On market data the frame is passed over and counted."""
    follower = await follow("tick_frame", Start.LATEST)
    seen.failures = [KeyError("a bug")]
    await publish(frame(1), frame(2))
    await eventually(lambda: seen.ids == [frame(2).event_id])
    assert follower.serving
    assert [(one.processed, one.failed) for one in follower.status()] == [(1, 1)]


async def test_what_cant_be_read_is_counted_and_passed_over(
    deployed, follow, publish, seen, frame, topic_map
) -> None:
    """A reader without a group has nobody to redrive to; it says so and goes on."""
    good = to_record(frame(1), topic_map)
    await deployed.publish([Record(good.topic, good.partition, b"k", b"\xff")])
    await publish(frame(1))
    follower = await follow("tick_frame", Start.EARLIEST)
    assert seen.ids == [frame(1).event_id]
    [told] = follower.status()
    assert (told.processed, told.failed) == (1, 1)
    assert told.last_error.startswith("Unreadable: UNDECODABLE")
