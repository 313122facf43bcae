"""Status reports of services, and how a service's state follows from its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from alphapanda.domain.consumer_status import ConsumerStatus


class ServiceState(IntEnum):
    """State of a service; the numbers are the contract's."""

    STARTING = 1
    SERVING = 2
    NOT_SERVING = 3
    STOPPED = 4


@dataclass(frozen=True, slots=True)
class BrokerReport:
    """State of a broker in a service; `mode` is "on", "off" (active but not enabled) or "not ready" (its connection isn't initialised)."""

    broker: str
    mode: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LastError:
    """The last error of a service.

    Attributes:
        text: one line; empty where there was none.
        at: its wall time; where it lasts, when it began; None where that is not known.
        over: whether the service has worked on since.
    """

    text: str = ""
    at: datetime | None = None
    over: bool = False


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """Status report of one service, such as "risk"; `counters` are specific to the service."""

    service: str
    state: ServiceState
    consumers: tuple[ConsumerStatus, ...] = ()
    brokers: tuple[BrokerReport, ...] = ()
    outbox_unpublished: int = 0
    last_error: LastError = LastError()
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a service: a consumer, a follower, a relay, a check.

    Args:
        name: such as "risk.signals".
        serving: it runs and isn't stopped by an error.
        last_error: one line; empty where there was none.
    """

    name: str
    serving: bool
    last_error: str = ""


def blocking_failure(parts: Iterable[Part]) -> str:
    """Returns why a service can't serve, in one line: its first part that doesn't serve; empty where all do.

    A service is NOT_SERVING while any of its parts is stopped (rule 5 of the design).
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
    degradation: str = "",
    since: datetime | None = None,
) -> ServiceReport:
    """Builds a service's report from its parts: NOT_SERVING where it should be SERVING and a part doesn't serve.

    Its last error is that part's, else a degradation, else the newest error of its consumers.

    Args:
        service: its name.
        lifecycle: state of the process: STARTING, SERVING, STOPPED.
        parts: the parts it needs in order to serve.
        consumers: its consumers, by broker.
        brokers: brokers it serves.
        outbox_unpublished: rows of its outbox not yet published.
        counters: counters specific to the service.
        degradation: a problem with which it goes on serving.
        since: when the failure or degradation that lasts now began; None where not known.
    """
    failure = blocking_failure(parts) if lifecycle is ServiceState.SERVING else ""
    lasting = failure or degradation
    return ServiceReport(
        service=service,
        state=ServiceState.NOT_SERVING if failure else lifecycle,
        consumers=tuple(consumers),
        brokers=tuple(brokers),
        outbox_unpublished=outbox_unpublished,
        last_error=LastError(lasting, since) if lasting else newest_error(consumers),
        counters=dict(counters),
    )


def newest_error(consumers: Iterable[ConsumerStatus]) -> LastError:
    """Returns the newest error of these consumers; it is over where no partition of that consumer is paused by it."""
    failed = [(one.last_error_at, one) for one in consumers if one.last_error and one.last_error_at]
    if not failed:
        return LastError()
    at, newest = max(failed, key=lambda pair: pair[0])
    return LastError(newest.last_error, at, over=not newest.paused)


def unanswered(service: str, why: str, since: datetime | None = None) -> ServiceReport:
    """Builds the report of a service that didn't report: NOT_SERVING."""
    return ServiceReport(service, ServiceState.NOT_SERVING, last_error=LastError(why, since))
