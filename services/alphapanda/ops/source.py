"""Sources of status reports: a report is built from a service's running parts when it is requested."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from alphapanda.domain.consumer_status import ConsumerStatus
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.ops.core import (
    BrokerReport,
    Part,
    ServiceReport,
    ServiceState,
    blocking_failure,
    newest_error,
    service_report,
    unanswered,
)
from alphapanda.resilience.failures import in_one_line


class StatusSource(Protocol):
    """A service that reports its status."""

    @property
    def service(self) -> str:
        """Its name, such as "risk"."""

    async def status(self) -> ServiceReport:
        """Returns its report. May raise where a dependency can't be reached."""


class LogReader(Protocol):
    """A reader of the log in a service: a ReliableConsumer or a TopicFollower."""

    @property
    def name(self) -> str:
        """Its name, such as "risk.signals"."""

    @property
    def serving(self) -> bool:
        """Whether it runs and isn't stopped by an error."""

    def status(self) -> list[ConsumerStatus]:
        """Returns one status for each broker."""

    async def lag(self) -> dict[str, int]:
        """Returns the number of records not handled yet, by broker."""


class Relay(Protocol):
    """The publisher of a service's outbox: an OutboxRelay."""

    @property
    def last_error(self) -> str:
        """One line; empty where there was none."""

    @property
    def serving(self) -> bool:
        """Whether it runs and can publish."""

    async def pending(self) -> int:
        """Returns the number of rows not yet published."""


class Check(Protocol):
    """A check of a service, such as the reconciliation of its books."""

    @property
    def name(self) -> str:
        """Its name, such as "reconciliation"."""

    @property
    def last_error(self) -> str:
        """The failure in one line; empty where the last check passed."""

    @property
    def serving(self) -> bool:
        """Whether it runs and the last check passed."""


class Degradable(Protocol):
    """A check that can report a degradation while its service goes on serving."""

    @property
    def name(self) -> str:
        """Its name, such as "lag"."""

    @property
    def degradation(self) -> str:
        """The degradation in one line; empty where there is none."""


class Since:
    """Since when something lasts, noted at each look; health looks often enough for that to be when it began.

    Args:
        wall_clock: returns the current wall time, aware.

    Attributes:
        at: wall time of the first look at which it lasted; None while it doesn't.
    """

    def __init__(self, wall_clock: Callable[[], datetime]) -> None:
        self.at: datetime | None = None
        self._wall_clock = wall_clock

    def note(self, *, lasts: bool) -> datetime | None:
        """Notes whether it lasts now; returns since when."""
        self.at = (self.at or self._wall_clock()) if lasts else None
        return self.at


class RunServer(Protocol):
    """A server that this process runs and starts again: a ServerSupervisor."""

    @property
    def name(self) -> str:
        """Its name, such as "PostgreSQL"."""

    @property
    def serving(self) -> bool:
        """Whether it runs."""

    @property
    def last_error(self) -> str:
        """Why it doesn't serve now, in one line; empty while it serves."""

    @property
    def restarts(self) -> int:
        """How often the server was started again since this process started."""

    @property
    def ended_because(self) -> str:
        """What ended the server last, in one line; empty if it never ended."""

    @property
    def ended_at(self) -> datetime | None:
        """When it ended last, aware; None where it never did."""


class RunningService:
    """A StatusSource over a service's running parts.

    Args:
        service: its name, such as "risk".
        lifecycle: returns the state of the process: STARTING, SERVING, STOPPED.
        wall_clock: returns the current wall time, aware.
        readers: its readers of the log.
        relay: publishes its outbox; None where it has no outbox.
        brokers: returns the state of its brokers.
        counters: returns its own counters.
        checks: checks that have to pass for it to serve.
        degradable: checks that can report a degradation.
    """

    def __init__(
        self,
        service: str,
        lifecycle: Callable[[], ServiceState],
        wall_clock: Callable[[], datetime],
        readers: Sequence[LogReader] = (),
        relay: Relay | None = None,
        brokers: Callable[[], Sequence[BrokerReport]] = tuple,
        counters: Callable[[], Mapping[str, int]] = dict,
        checks: Sequence[Check] = (),
        degradable: Sequence[Degradable] = (),
    ) -> None:
        self.service = service
        self._lifecycle = lifecycle
        self._failing, self._away, self._degraded = (Since(wall_clock) for _ in range(3))
        self._readers = readers
        self._relay = relay
        self._checks = tuple(checks)
        self._concerns = tuple(degradable)
        self._brokers = brokers
        self._counters = counters

    @property
    def started(self) -> bool:
        """Whether the process has started, so the service should be serving."""
        return self._lifecycle() is ServiceState.SERVING

    @property
    def consumers(self) -> Sequence[ConsumerStatus]:
        """Its consumers, by broker, without their lag. Asks neither the database nor the log."""
        return [status for reader in self._readers for status in reader.status()]

    @property
    def not_serving_reason(self) -> str:
        """Why it can't serve now, in one line; empty where it can. Asks neither the database nor the log."""
        reason = blocking_failure(self._parts())
        self._failing.note(lasts=bool(reason))
        return reason

    async def status(self) -> ServiceReport:
        """Returns its report; while the database or the log can't be reached, only why it can't serve."""
        try:
            report = await self._asked()
        except (SQLAlchemyError, OSError, LogUnavailable) as away:
            began = self._away.note(lasts=True)
            reason = self.not_serving_reason
            return unanswered(self.service, reason or in_one_line(away), self._failing.at or began)
        self._away.note(lasts=False)
        return report

    async def _asked(self) -> ServiceReport:
        consumers: list[ConsumerStatus] = []
        for reader in self._readers:
            lag = await reader.lag()
            consumers += (replace(status, lag=lag.get(status.broker, 0)) for status in reader.status())
        degradation = next(
            (f"{one.name}: {one.degradation}" for one in self._concerns if one.degradation), ""
        )
        failing = bool(self.not_serving_reason)  # which notes since when
        degraded_at = self._degraded.note(lasts=bool(degradation))
        return service_report(
            self.service,
            lifecycle=self._lifecycle(),
            parts=self._parts(),
            degradation=degradation,
            since=self._failing.at if failing else degraded_at,
            consumers=consumers,
            brokers=self._brokers(),
            outbox_unpublished=0 if self._relay is None else await self._relay.pending(),
            counters=self._counters(),
        )

    def _parts(self) -> list[Part]:
        # Checks of dependencies come first: where a dependency is down, the other parts fail because of it.
        parts = [Part(check.name, check.serving, check.last_error) for check in self._checks]
        parts += (
            Part(reader.name, reader.serving, newest_error(reader.status()).text) for reader in self._readers
        )
        if self._relay is not None:
            parts.append(Part("outbox relay", self._relay.serving, self._relay.last_error))
        return parts
