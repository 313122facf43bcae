"""How far the consumer groups are: committed offsets against the log's ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alphapanda.contract.topics import TopicMap
from alphapanda.eventlog.port import EventLog


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """A group on a partition.

    Attributes:
        group: such as "risk.signals".
        topic: which.
        broker: of the topic; empty for shared ones.
        partition: of it.
        committed: offset of the next record to handle; None where the group never committed.
        end: offset of the next record published.
        lag: records between.
    """

    group: str
    topic: str
    broker: str
    partition: int
    committed: int | None
    end: int
    lag: int


@dataclass(frozen=True, slots=True)
class TopicLag:
    """A group on a topic; see `PartitionLag`. `lag` is that of all partitions."""

    group: str
    topic: str
    broker: str
    lag: int


async def consumer_lag(
    log: EventLog, topic_map: TopicMap, groups: Mapping[str, Sequence[str]]
) -> list[PartitionLag]:
    """The lag of every group on every partition of its topics, by group, topic and partition.

    Args:
        log: the log.
        topic_map: the deployment's topics.
        groups: the payloads that a group reads, by its name.

    Raises:
        LogUnavailable: the log is away.
    """
    found = []
    for group, payloads in sorted(groups.items()):
        committed = await log.committed_offsets(group)
        ends = await log.end_offsets(topic_map.topics(*payloads))
        for at, end in sorted(ends.items()):
            done = committed.get(at)
            found.append(
                PartitionLag(
                    group,
                    at.topic,
                    topic_map.broker(at.topic),
                    at.partition,
                    done,
                    end,
                    max(0, end - (done or 0)),
                )
            )
    return found


def by_topic(lags: Iterable[PartitionLag]) -> list[TopicLag]:
    """The lag of every group on every topic, by group and topic."""
    records: Counter[tuple[str, str, str]] = Counter()
    for one in lags:
        records[one.group, one.topic, one.broker] += one.lag
    return [TopicLag(*of, lag) for of, lag in sorted(records.items())]
