"""Options of a consumer: batches, retries and circuit breakers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerOptions:
    """How a consumer reads and how it handles failures.

    Attributes:
        batch_size: records handled at once.
        concurrency: partitions of a broker handled at once.
        backoff_initial_seconds: first wait after a transient failure; it doubles from failure to failure.
        backoff_max_seconds: longest wait after a transient failure.
        bug_attempts: attempts before a failing record is treated as a bug.
        bug_stop_percent: share of bugs among the last valid records at which the consumer stops, in percent.
        bug_stop_least: bugs that it takes at least to stop the consumer.
        breaker_failures: failures in a row that open the circuit to a dependency.
        breaker_seconds: how long an open circuit waits before one attempt is made.
    """

    batch_size: int = 500
    concurrency: int = 4
    backoff_initial_seconds: float = 0.1
    backoff_max_seconds: float = 10.0
    bug_attempts: int = 3
    bug_stop_percent: float = 50.0
    bug_stop_least: int = 5
    breaker_failures: int = 5
    breaker_seconds: float = 5.0
