"""Where reports come from: the running parts of a service, asked when somebody wants to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from alphapanda.domain.consumer_status import ConsumerStatus
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.ops.core import (
    BrokerReport,
    Part,
    ServiceReport,
    ServiceState,
    hindrance,
    newest_error,
    service_report,
    unanswered,
)
from alphapanda.resilience.failures import in_one_line


class StatusSource(Protocol):
    """A service that can say how it is."""

    @property
    def service(self) -> str:
        """Its name, such as "risk"."""

    async def status(self) -> ServiceReport:
        """How it is now. May raise where what it asks is away."""


class LogReader(Protocol):
    """What reads the log for a service: a ReliableConsumer, a TopicFollower."""

    @property
    def name(self) -> str:
        """Its name, such as "risk.signals"."""

    @property
    def serving(self) -> bool:
        """Whether it runs and no error keeps it from moving."""

    def status(self) -> list[ConsumerStatus]:
        """One status a broker."""

    async def lag(self) -> dict[str, int]:
        """Records not handled yet, by broker."""


class Relay(Protocol):
    """What publishes a service's outbox: an OutboxRelay."""

    @property
    def last_error(self) -> str:
        """One line; empty where there was none."""

    @property
    def serving(self) -> bool:
        """Whether it runs and can publish."""

    async def pending(self) -> int:
        """Rows not yet published."""


class Check(Protocol):
    """What a service proves of itself, such as its books."""

    @property
    def name(self) -> str:
        """Its name, such as "reconciliation"."""

    @property
    def last_error(self) -> str:
        """One line; empty where the last proof held."""

    @property
    def serving(self) -> bool:
        """Whether it runs and the last proof held."""


class Concern(Protocol):
    """What a person should read of a service that works."""

    @property
    def name(self) -> str:
        """Its name, such as "lag"."""

    @property
    def concern(self) -> str:
        """One line; empty where there is nothing."""


class RunningService:
    """A StatusSource over a service's running parts.

    Args:
        service: its name, such as "risk".
        lifecycle: what its owner knows now: STARTING, SERVING, STOPPED.
        readers: its readers of the log.
        relay: of its outbox; None where it has none.
        brokers: how it sees the brokers now.
        counters: figures of its own.
        checks: what it proves of itself.
        concerns: what a person should read while it works.
    """

    def __init__(
        self,
        service: str,
        lifecycle: Callable[[], ServiceState],
        readers: Sequence[LogReader] = (),
        relay: Relay | None = None,
        brokers: Callable[[], Sequence[BrokerReport]] = tuple,
        counters: Callable[[], Mapping[str, int]] = dict,
        checks: Sequence[Check] = (),
        concerns: Sequence[Concern] = (),
    ) -> None:
        self.service = service
        self._lifecycle = lifecycle
        self._readers = readers
        self._relay = relay
        self._checks = tuple(checks)
        self._concerns = tuple(concerns)
        self._brokers = brokers
        self._counters = counters

    @property
    def started(self) -> bool:
        """Whether its owner says that it should be at work now."""
        return self._lifecycle() is ServiceState.SERVING

    @property
    def held_up_by(self) -> str:
        """What keeps it from its work now, one line; empty where nothing does. Asks neither the database nor the log."""
        return hindrance(self._parts())

    async def status(self) -> ServiceReport:
        """How it is now; while the database or the log can't be asked, only what holds it up."""
        try:
            return await self._asked()
        except (SQLAlchemyError, OSError, LogUnavailable) as away:
            return unanswered(self.service, self.held_up_by or in_one_line(away))

    async def _asked(self) -> ServiceReport:
        consumers: list[ConsumerStatus] = []
        for reader in self._readers:
            lag = await reader.lag()
            consumers += (replace(status, lag=lag.get(status.broker, 0)) for status in reader.status())
        return service_report(
            self.service,
            lifecycle=self._lifecycle(),
            parts=self._parts(),
            concern=next((f"{one.name}: {one.concern}" for one in self._concerns if one.concern), ""),
            consumers=consumers,
            brokers=self._brokers(),
            outbox_unpublished=0 if self._relay is None else await self._relay.pending(),
            counters=self._counters(),
        )

    def _parts(self) -> list[Part]:
        # What it stands on comes first: where that is away, everything else fails because of it.
        parts = [Part(check.name, check.serving, check.last_error) for check in self._checks]
        parts += (
            Part(reader.name, reader.serving, newest_error(reader.status())) for reader in self._readers
        )
        if self._relay is not None:
            parts.append(Part("outbox relay", self._relay.serving, self._relay.last_error))
        return parts
