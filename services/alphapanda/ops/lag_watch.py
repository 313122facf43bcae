"""Raises alarms for consumer groups that are too far behind on a topic, even where no member runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import structlog

from alphapanda.contract.topics import TopicMap
from alphapanda.eventlog.port import EventLog
from alphapanda.ops.checks import ActiveCheck
from alphapanda.ops.lag import TopicLag, by_topic, consumer_lag

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LagAlarm:
    """An alarm: a group is too far behind on a topic.

    Attributes:
        behind: group, topic and lag at the last check.
        since: wall time of the check that raised the alarm.
    """

    behind: TopicLag
    since: datetime


class LagWatch:
    """Checks the groups' lag together with the health checks; logs an alarm when it begins and when it ends.

    While the log can't be reached the last result stays. An alarm makes no service NOT_SERVING: a kill switch has to stay
    reachable.

    Args:
        log: the log.
        topic_map: the deployment's topics.
        groups: the payloads that each consumer group reads.
        most_records: largest lag without an alarm.
        timeout_seconds: longest wait for the log.
        wall_clock: wall time, aware.

    Attributes:
            allowed: `most_records`.
            lags: lag of every group on every topic, at the last check; empty before the first.
    """

    def __init__(
        self,
        log: EventLog,
        topic_map: TopicMap,
        groups: Mapping[str, Sequence[str]],
        most_records: int,
        timeout_seconds: float,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self.allowed = most_records
        self.lags: Sequence[TopicLag] = ()
        self._log = log
        self._topic_map = topic_map
        self._groups = groups
        self._wall_clock = wall_clock
        self._asked = ActiveCheck("consumer groups", self._look, timeout_seconds)
        self._alarms: dict[tuple[str, str], LagAlarm] = {}

    @property
    def alarms(self) -> Sequence[LagAlarm]:
        """Returns the alarms, sorted by group and topic."""
        return [alarm for _, alarm in sorted(self._alarms.items())]

    def alarms_about(self, lag: TopicLag) -> bool:
        """Whether there is an alarm for this group and topic."""
        return (lag.group, lag.topic) in self._alarms

    @property
    def healthy(self) -> bool:
        """Whether the log answered and no group is too far behind."""
        return self._asked.healthy and not self._alarms

    async def run(self, *, in_grace_period: bool) -> None:
        """Checks once. In the grace period after the start no new alarm is raised."""
        await self._asked.run(in_grace_period=in_grace_period)
        for lag in self.lags:
            of = (lag.group, lag.topic)
            before = self._alarms.get(of)
            if lag.lag > self.allowed:
                if before is not None:
                    self._alarms[of] = LagAlarm(lag, before.since)
                elif not in_grace_period:
                    self._alarms[of] = LagAlarm(lag, self._wall_clock())
                    _log.error("group.fell_behind", **self._text(lag))
            elif before is not None:
                del self._alarms[of]
                _log.warning("group.caught_up", **self._text(lag))

    async def _look(self) -> str:
        self.lags = by_topic(await consumer_lag(self._log, self._topic_map, self._groups))
        return ""

    def _text(self, lag: TopicLag) -> dict[str, str | int | bool]:
        return {"alarm": True, "allowed": self.allowed, **asdict(lag)}
