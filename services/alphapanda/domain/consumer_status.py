"""The status and counters of a log consumer, as its service reports them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True)
class ConsumerStatus:
    """Counters of one consumer for one broker since the process started. The consumer updates it; others get copies.

    Attributes:
        consumer: its name, such as "risk.signals".
        broker: broker of its topics; empty for shared topics.
        processed: records handled, including those that needed nothing done.
        failed: attempts that failed.
        retried: attempts that were repeated.
        dead_lettered: records sent to a dead-letter topic.
        paused: partitions paused because of an error, as "topic/partition@offset".
        lag: records on the log that aren't handled yet.
        last_error: one line without secrets; empty if there was none.
        last_error_at: wall time of the last error.
        parked: keys parked because of a bug, in the partitions assigned to it.
        open_circuits: dependencies that a circuit breaker keeps it from, such as "PostgreSQL".
    """

    consumer: str
    broker: str = ""
    processed: int = 0
    failed: int = 0
    retried: int = 0
    dead_lettered: int = 0
    paused: tuple[str, ...] = ()
    lag: int = 0
    last_error: str = ""
    last_error_at: datetime | None = None
    parked: int = 0
    open_circuits: tuple[str, ...] = ()

    def count_failure(self, error: str, wall_time: datetime) -> None:
        """Counts a failed attempt; `error` is one line."""
        self.failed += 1
        self.last_error = error
        self.last_error_at = wall_time
