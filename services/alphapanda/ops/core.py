"""What a service reports of itself, and how its state follows from its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from alphapanda.domain.consumer_status import ConsumerStatus


class ServiceState(IntEnum):
    """How a service stands; the numbers are the contract's."""

    STARTING = 1
    SERVING = 2
    NOT_SERVING = 3
    STOPPED = 4


@dataclass(frozen=True, slots=True)
class BrokerReport:
    """A broker as a service sees it; `mode` is "on", or "off" where it is active but not enabled."""

    broker: str
    mode: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One service, such as "risk"; `counters` are figures of its own."""

    service: str
    state: ServiceState
    consumers: tuple[ConsumerStatus, ...] = ()
    brokers: tuple[BrokerReport, ...] = ()
    outbox_unpublished: int = 0
    last_error: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """What keeps a service at work: a consumer, a follower, a relay.

    Args:
        name: such as "risk.signals".
        serving: it runs, and no error keeps it from moving.
        last_error: one line; empty where there was none.
    """

    name: str
    serving: bool
    last_error: str = ""


def hindrance(parts: Iterable[Part]) -> str:
    """What keeps a service from its work, one line; empty where nothing does.

    A service is held up while any of its parts is: work has stopped there (rule 5 of the design).
    """
    return next(
        (f"{part.name}: {part.last_error or 'is not running'}" for part in parts if not part.serving), ""
    )


def service_report(
    service: str,
    *,
    lifecycle: ServiceState,
    parts: Sequence[Part],
    consumers: Sequence[ConsumerStatus],
    brokers: Sequence[BrokerReport],
    outbox_unpublished: int,
    counters: Mapping[str, int],
    concern: str = "",
) -> ServiceReport:
    """A service's report from its parts: NOT_SERVING where it should be SERVING and is held up.

    Its last error is what holds it up, else what a person should read, else the newest of its consumers'.

    Args:
        service: its name.
        lifecycle: what its owner knows: STARTING, SERVING, STOPPED.
        parts: what keeps it at work.
        consumers: its consumers, by broker.
        brokers: brokers it serves.
        outbox_unpublished: rows of its outbox not yet published.
        counters: figures of its own.
        concern: what a person should read while it works.
    """
    held_up_by = hindrance(parts) if lifecycle is ServiceState.SERVING else ""
    return ServiceReport(
        service=service,
        state=ServiceState.NOT_SERVING if held_up_by else lifecycle,
        consumers=tuple(consumers),
        brokers=tuple(brokers),
        outbox_unpublished=outbox_unpublished,
        last_error=held_up_by or concern or newest_error(consumers),
        counters=dict(counters),
    )


def newest_error(consumers: Iterable[ConsumerStatus]) -> str:
    """The newest error of these consumers; empty where there was none."""
    timed = [(report.last_error_at, report.last_error) for report in consumers if report.last_error_at]
    return max(timed)[1] if timed else ""


def unanswered(service: str, why: str) -> ServiceReport:
    """The report of a service that can't say how it is."""
    return ServiceReport(service, ServiceState.NOT_SERVING, last_error=why)
