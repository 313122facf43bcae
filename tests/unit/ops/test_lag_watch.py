"""Groups that are too far behind: when an alarm begins and ends, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.ops.lag_watch import LagWatch

BEGAN = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
TOPICS = TopicMap(("paper", "zerodha"))
PAPER, ZERODHA = (TOPICS.topic("trading_signal", broker) for broker in TOPICS.active_brokers)


class Log:
    """A log that a group reads; the test sets how far each is."""

    def __init__(self) -> None:
        self.ends: dict[str, tuple[int, int]] = {PAPER: (0, 0), ZERODHA: (0, 0)}
        self.committed: dict[TopicPartition, int] = {}
        self.away = False

    async def committed_offsets(self, group: str) -> Mapping[TopicPartition, int]:
        if self.away:
            raise LogUnavailable("Kafka is away")
        return self.committed

    async def end_offsets(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        return {
            TopicPartition(topic, number): end
            for topic in topics
            for number, end in enumerate(self.ends[topic])
        }


class Watched:
    """A watch of one group that may be 1000 records behind; a second of wall time goes by with each look."""

    def __init__(self) -> None:
        self.log = Log()
        self.looks = 0
        groups = {"risk.signals": ("trading_signal",)}
        self.watch = LagWatch(self.log, TOPICS, groups, 1000, 1.0, self.wall_clock)

    def wall_clock(self) -> datetime:
        return BEGAN + timedelta(seconds=self.looks)

    async def look(self, *, in_grace_period: bool = False) -> list[tuple[str, int, float]]:
        """The alarms after one more look: broker, lag, seconds since when."""
        self.looks += 1
        await self.watch.run(in_grace_period=in_grace_period)
        return [
            (alarm.behind.broker, alarm.behind.lag, (alarm.since - BEGAN).total_seconds())
            for alarm in self.watch.alarms
        ]


@pytest.fixture
def watched() -> Watched:
    """Nothing is on the log."""
    return Watched()


async def test_an_alarm_is_told_when_it_begins_and_when_it_ends(watched) -> None:
    """Over the limit, all partitions of the topic together, there is an alarm, from its first look to the last record."""
    told = []
    with capture_logs() as logs:
        for end in (500, 501, 900, 500):
            watched.log.ends[PAPER] = (500, end)
            told.append(await watched.look())
        watched.log.ends[PAPER] = (5000, 5000)
        watched.log.committed = {TopicPartition(PAPER, 0): 4000, TopicPartition(PAPER, 1): 5000}
        told.append(await watched.look())
    assert told == [[], [("paper", 1001, 2)], [("paper", 1400, 2)], [], []]
    of = {"group": "risk.signals", "topic": PAPER, "broker": "paper", "alarm": True, "allowed": 1000}
    assert logs == [
        {"event": "group.fell_behind", "log_level": "error", "lag": 1001, **of},
        {"event": "group.caught_up", "log_level": "warning", "lag": 1000, **of},
    ]


async def test_a_group_is_told_by_broker(watched) -> None:
    """What one broker's topic is behind is no other's."""
    watched.log.ends |= {PAPER: (1000, 0), ZERODHA: (0, 1001)}
    assert await watched.look() == [("zerodha", 1001, 1)]
    assert [(lag.broker, lag.lag, watched.watch.alarms_about(lag)) for lag in watched.watch.lags] == [
        ("paper", 1000, False),
        ("zerodha", 1001, True),
    ]
    watched.log.ends[PAPER] = (1000, 1)
    assert await watched.look() == [("paper", 1001, 2), ("zerodha", 1001, 1)]


async def test_no_alarm_begins_in_the_first_seconds(watched) -> None:
    """While a process is forgiven a backlog is known and no alarm; after that it is one."""
    watched.log.ends[PAPER] = (2000, 0)
    assert await watched.look(in_grace_period=True) == []
    assert watched.watch.lags[0].lag == 2000
    assert await watched.look() == [("paper", 2000, 2)]


async def test_an_alarm_stands_while_the_log_is_away(watched) -> None:
    """A log that doesn't answer ends no alarm and is itself said once."""
    watched.log.ends[PAPER] = (2000, 0)
    await watched.look()
    with capture_logs() as logs:
        watched.log.away = True
        for _ in range(2):
            assert await watched.look() == [("paper", 2000, 1)]
            assert not watched.watch.healthy
        watched.log.away, watched.log.ends[PAPER] = False, (1000, 0)
        assert await watched.look() == []
    assert watched.watch.healthy
    assert [(line["event"], line.get("error")) for line in logs] == [
        ("check.failed", "LogUnavailable: Kafka is away"),
        ("check.recovered", None),
        ("group.caught_up", None),
    ]
