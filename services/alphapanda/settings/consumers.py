"""Settings of the consumers: batches, back-off, circuit breakers."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from alphapanda.consuming.options import ConsumerOptions
from alphapanda.settings.section import Section

BatchSize = Annotated[int, Field(ge=1, le=10_000, description="records handled at once")]
Concurrency = Annotated[int, Field(ge=1, le=64, description="partitions of a broker handled at once")]
BackoffInitial = Annotated[
    float, Field(gt=0, allow_inf_nan=False, description="first wait after a transient failure; it doubles")
]
BackoffMax = Annotated[
    float, Field(gt=0, allow_inf_nan=False, description="longest wait after a transient failure")
]
BugAttempts = Annotated[
    int, Field(ge=1, le=100, description="attempts before a failing record is treated as a bug")
]
BugStopPercent = Annotated[
    float,
    Field(
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="the consumer stops, and is NOT_SERVING, once so many percent of the last valid records failed as"
        " bugs: then the version is at fault, not the records",
    ),
]
BugStopLeast = Annotated[
    int, Field(ge=1, le=100_000, description="bugs that it takes at least to stop the consumer")
]
BreakerFailures = Annotated[
    int, Field(ge=1, le=1000, description="failures in a row that open the circuit to a dependency")
]
BreakerSeconds = Annotated[
    float,
    Field(gt=0, allow_inf_nan=False, description="how long an open circuit waits before one attempt is made"),
]

_DEFAULT: Final = ConsumerOptions()


class ConsumerSettings(Section):
    """How every consumer reads and handles failures, unless its own section says otherwise."""

    batch_size: BatchSize = _DEFAULT.batch_size
    concurrency: Concurrency = _DEFAULT.concurrency
    backoff_initial_seconds: BackoffInitial = _DEFAULT.backoff_initial_seconds
    backoff_max_seconds: BackoffMax = _DEFAULT.backoff_max_seconds
    bug_attempts: BugAttempts = _DEFAULT.bug_attempts
    bug_stop_percent: BugStopPercent = _DEFAULT.bug_stop_percent
    bug_stop_least: BugStopLeast = _DEFAULT.bug_stop_least
    breaker_failures: BreakerFailures = _DEFAULT.breaker_failures
    breaker_seconds: BreakerSeconds = _DEFAULT.breaker_seconds


class ConsumerOverrides(Section):
    """One consumer's own values; what is not set here is as in consumers.defaults."""

    batch_size: BatchSize | None = None
    concurrency: Concurrency | None = None
    backoff_initial_seconds: BackoffInitial | None = None
    backoff_max_seconds: BackoffMax | None = None
    bug_attempts: BugAttempts | None = None
    bug_stop_percent: BugStopPercent | None = None
    bug_stop_least: BugStopLeast | None = None
    breaker_failures: BreakerFailures | None = None
    breaker_seconds: BreakerSeconds | None = None


class ConsumersSettings(Section):
    """The consumers, by the names of their groups with "_" for "."."""

    defaults: ConsumerSettings = ConsumerSettings()
    strategy: ConsumerOverrides = ConsumerOverrides()
    # All partitions: signals of one frame are decided together, so that who gets scarce funds isn't chance.
    risk_signals: ConsumerOverrides = ConsumerOverrides(concurrency=8)
    risk_orders: ConsumerOverrides = ConsumerOverrides()
    trading: ConsumerOverrides = ConsumerOverrides()
    portfolio: ConsumerOverrides = ConsumerOverrides()

    def policy(self, group: str) -> ConsumerSettings:
        """The settings of a group, such as "risk.signals": its own over the defaults."""
        own: ConsumerOverrides = getattr(self, group.replace(".", "_"))
        return self.defaults.model_copy(update=own.model_dump(exclude_none=True))
