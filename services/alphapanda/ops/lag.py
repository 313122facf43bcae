"""Computes consumer lag: the log's ends minus the groups' committed offsets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alphapanda.contract.topics import TopicMap
from alphapanda.eventlog.port import EventLog


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """Lag of a group on a partition.

    Attributes:
        group: such as "risk.signals".
        topic: the topic.
        broker: the topic's broker; empty for shared topics.
        partition: number of the partition.
        committed: offset of the next record to handle; None where the group never committed.
        end: offset of the next record to be published.
        lag: number of records between the two.
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
    """Lag of a group on a topic, summed over its partitions."""

    group: str
    topic: str
    broker: str
    lag: int


async def consumer_lag(
    log: EventLog, topic_map: TopicMap, groups: Mapping[str, Sequence[str]]
) -> list[PartitionLag]:
    """Computes the lag of every group on every partition of its topics, sorted by group, topic and partition.

    Args:
        log: the log.
        topic_map: the deployment's topics.
        groups: the payloads that each group reads, by the group's name.

    Raises:
            LogUnavailable: the log can't be reached.
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
    """Sums the lag of every group by topic, sorted by group and topic."""
    records: Counter[tuple[str, str, str]] = Counter()
    for one in lags:
        records[one.group, one.topic, one.broker] += one.lag
    return [TopicLag(*of, lag) for of, lag in sorted(records.items())]
