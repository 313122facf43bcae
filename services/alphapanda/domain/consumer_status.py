"""What a consumer of the log counts and reports, from the place where it is counted to the answer of an RPC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True)
class ConsumerStatus:
    """One consumer for one broker, since the start of the process. The consumer counts in it; everybody else has a copy.

    Attributes:
        consumer: its name, such as "risk.signals".
        broker: broker of its topics; empty for shared ones.
        processed: records handled, those that needed no handling included.
        failed: attempts that failed.
        retried: attempts made again.
        dead_lettered: records that went to a dead-letter topic.
        paused: partitions that don't move because of an error, as "topic/partition@offset".
        lag: records on the log not handled yet.
        last_error: one line without secrets; empty where there was none.
        last_error_at: wall time of it.
        parked: keys that stand still because of a bug, in the partitions it holds.
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

    def count_failure(self, error: str, wall_time: datetime) -> None:
        """Counts an attempt that failed with `error`, one line."""
        self.failed += 1
        self.last_error = error
        self.last_error_at = wall_time
