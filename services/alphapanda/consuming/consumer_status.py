"""What a consumer tells about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from alphapanda.contract.topics import TopicPartition
from alphapanda.resilience.failures import in_one_line


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """One consumer for one broker, since the start of the process.

    Attributes:
        consumer: its name.
        broker: broker of its topics; empty for shared ones.
        processed: records handled, those that needed no handling included.
        failed: attempts that failed.
        retried: attempts made again.
        dead_lettered: records that went to a dead-letter topic.
        paused: partitions that don't move because of an error, as "topic/partition@offset".
        last_error: one line without secrets; empty where there was none.
        last_error_at: wall time of it.
        parked: keys that stand still because of a bug, in the partitions it holds.
    """

    consumer: str
    broker: str
    processed: int = 0
    failed: int = 0
    retried: int = 0
    dead_lettered: int = 0
    paused: tuple[str, ...] = ()
    last_error: str = ""
    last_error_at: datetime | None = None
    parked: int = 0


@dataclass(slots=True)
class Tally:
    """The counts of one broker, while they grow."""

    processed: int = 0
    failed: int = 0
    retried: int = 0
    dead_lettered: int = 0
    last_error: str = ""
    last_error_at: datetime | None = None

    def failure(self, error: BaseException, wall_time: datetime) -> None:
        """Counts an attempt that failed."""
        self.failed += 1
        self.last_error = in_one_line(error)
        self.last_error_at = wall_time

    def status(
        self, consumer: str, broker: str, paused: Iterable[str], parked: int, circuit: str
    ) -> ConsumerStatus:
        """As it is now."""
        return ConsumerStatus(
            consumer,
            broker,
            self.processed,
            self.failed,
            self.retried,
            self.dead_lettered,
            tuple(paused),
            circuit or self.last_error,
            self.last_error_at,
            parked,
        )


def statuses(
    consumer: str,
    tallies: Mapping[str, Tally],
    paused: Mapping[TopicPartition, int],
    broker_of: Callable[[str], str],
    parked: Mapping[str, int] | None = None,
    open_circuit: Callable[[str], str] = lambda _: "",
) -> list[ConsumerStatus]:
    """One status a broker.

    Args:
        consumer: its name.
        tallies: counts by broker.
        paused: offset at which a partition stands, of those that don't move because of an error.
        broker_of: the broker of a topic.
        parked: keys parked, by broker.
        open_circuit: why a broker's side stands still; empty where it doesn't. It is then the last error.
    """
    places: dict[str, list[str]] = {}
    for at, offset in sorted(paused.items()):
        places.setdefault(broker_of(at.topic), []).append(f"{at.topic}/{at.partition}@{offset}")
    keys = parked or {}
    return [
        tally.status(consumer, broker, places.get(broker, ()), keys.get(broker, 0), open_circuit(broker))
        for broker, tally in tallies.items()
    ]
