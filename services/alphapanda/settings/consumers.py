"""Settings of the consumers: batches, back-off, circuit breakers."""

from __future__ import annotations

from pydantic import Field

from alphapanda.settings.section import Seconds, Section


class ConsumerSettings(Section):
    """Every consumer's way with failures, where its own section doesn't say otherwise."""

    batch_size: int = Field(500, ge=1, le=10_000, description="records handled at once")
    concurrency: int = Field(4, ge=1, le=64, description="partitions of a broker handled at once")
    backoff_initial_seconds: Seconds = Field(0.1, description="first wait after a transient failure")
    backoff_max_seconds: Seconds = Field(10.0, description="longest wait after a transient failure")
    bug_attempts: int = Field(
        3, ge=1, le=100, description="attempts before a failing record is taken for a bug"
    )
    breaker_failures: int = Field(
        5, ge=1, le=1000, description="failures in a row that open the circuit to what is away"
    )
    breaker_seconds: Seconds = Field(5.0, description="how long an open circuit waits before it is tried")


class ConsumerOverrides(Section):
    """One consumer's own way with failures; what isn't said is as in consumers.defaults."""

    batch_size: int | None = Field(None, ge=1, le=10_000, description="records handled at once")
    concurrency: int | None = Field(None, ge=1, le=64, description="partitions of a broker handled at once")
    backoff_initial_seconds: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="first wait after a transient failure"
    )
    backoff_max_seconds: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="longest wait after a transient failure"
    )
    bug_attempts: int | None = Field(
        None, ge=1, le=100, description="attempts before a failing record is taken for a bug"
    )
    breaker_failures: int | None = Field(
        None, ge=1, le=1000, description="failures in a row that open the circuit to what is away"
    )
    breaker_seconds: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="how long an open circuit waits before it is tried"
    )


class ConsumersSettings(Section):
    """The consumers, by the names of their groups with "_" for "."."""

    defaults: ConsumerSettings = ConsumerSettings()
    strategy: ConsumerOverrides = ConsumerOverrides()
    risk_signals: ConsumerOverrides = ConsumerOverrides()
    risk_orders: ConsumerOverrides = ConsumerOverrides()
    trading: ConsumerOverrides = ConsumerOverrides()
    portfolio: ConsumerOverrides = ConsumerOverrides()

    def policy(self, group: str) -> ConsumerSettings:
        """A consumer's settings: its own over the defaults."""
        own: ConsumerOverrides = getattr(self, group.replace(".", "_"))
        return self.defaults.model_copy(update=own.model_dump(exclude_none=True))
