"""Groups that are too far behind on a topic, also where nobody reads for them any more: found and told."""

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
    """A group that is too far behind on a topic.

    Attributes:
        behind: which, and how far at the last look.
        since: wall time of the first look that found it.
    """

    behind: TopicLag
    since: datetime


class LagWatch:
    """Looks how far the groups are, in the rounds of the health checks; an alarm is logged when it begins and when it ends.

    While the log is away what was known last stands. Nobody is kept from their work: a kill switch has to stay in reach.

    Args:
        log: the log.
        topic_map: the deployment's topics.
        groups: the payloads that each consumer group reads.
        most_records: records that a group may be behind on a topic.
        timeout_seconds: longest wait for the log.
        wall_clock: wall time, aware.

    Attributes:
        allowed: `most_records`.
        lags: every group on every topic, at the last look; empty before the first.
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
        """What is too far behind, by group and topic."""
        return [alarm for _, alarm in sorted(self._alarms.items())]

    def alarms_about(self, lag: TopicLag) -> bool:
        """Whether there is an alarm about this group and topic."""
        return (lag.group, lag.topic) in self._alarms

    @property
    def well(self) -> bool:
        """Whether the log answered and nobody is too far behind."""
        return self._asked.well and not self._alarms

    async def run(self, *, forgiving: bool) -> None:
        """Looks once. Forgiving: no alarm begins, as in the first seconds of a process."""
        await self._asked.run(forgiving=forgiving)
        for lag in self.lags:
            of = (lag.group, lag.topic)
            before = self._alarms.get(of)
            if lag.lag > self.allowed:
                if before is not None:
                    self._alarms[of] = LagAlarm(lag, before.since)
                elif not forgiving:
                    self._alarms[of] = LagAlarm(lag, self._wall_clock())
                    _log.error("group.fell_behind", **self._words(lag))
            elif before is not None:
                del self._alarms[of]
                _log.warning("group.caught_up", **self._words(lag))

    async def _look(self) -> str:
        self.lags = by_topic(await consumer_lag(self._log, self._topic_map, self._groups))
        return ""

    def _words(self, lag: TopicLag) -> dict[str, str | int | bool]:
        return {"alarm": True, "allowed": self.allowed, **asdict(lag)}
