"""How a service's state follows from its parts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alphapanda.domain.consumer_status import ConsumerStatus
from alphapanda.ops.core import LastError, Part, ServiceState, newest_error, service_report
from panda.ops.v1 import ops_pb2

STUCK = Part("risk.signals", serving=False, last_error="ValueError: no")
WELL = Part("risk.orders", serving=True, last_error="an old error")


def report(lifecycle: ServiceState, parts: list[Part], consumers: tuple[ConsumerStatus, ...] = ()):
    return service_report(
        "risk",
        lifecycle=lifecycle,
        parts=parts,
        consumers=consumers,
        brokers=(),
        outbox_unpublished=0,
        counters={},
    )


def test_a_service_serves_while_all_its_parts_do() -> None:
    """An error that has passed doesn't count."""
    assert report(ServiceState.SERVING, [WELL, WELL]).state is ServiceState.SERVING


def test_one_part_that_stands_still_is_enough() -> None:
    """A service that should be at work is NOT_SERVING while a part is stuck, and says which and why."""
    found = report(ServiceState.SERVING, [WELL, STUCK])
    assert found.state is ServiceState.NOT_SERVING
    assert found.last_error.text == "risk.signals: ValueError: no"


def test_a_part_that_never_ran_is_named() -> None:
    """A part without an error that doesn't run holds the service up just the same."""
    assert report(ServiceState.SERVING, [Part("outbox relay", serving=False)]).last_error.text == (
        "outbox relay: is not running"
    )


@pytest.mark.parametrize("lifecycle", [ServiceState.STARTING, ServiceState.STOPPED])
def test_before_and_after_its_work_parts_may_stand_still(lifecycle) -> None:
    """While a service starts or has stopped, that is what it reports."""
    assert report(lifecycle, [STUCK]).state is lifecycle


def test_the_newest_error_is_the_last() -> None:
    """Of several consumers' errors the latest is told; of none, nothing."""
    first = ConsumerStatus("a", last_error="old", last_error_at=datetime(2026, 1, 5, tzinfo=UTC))
    second = ConsumerStatus("b", last_error="new", last_error_at=datetime(2026, 1, 6, tzinfo=UTC))
    assert newest_error([second, first, ConsumerStatus("c")]) == LastError(
        "new", second.last_error_at, over=True
    )
    assert newest_error([ConsumerStatus("c")]) == LastError()
    assert report(ServiceState.SERVING, [WELL], (first,)).last_error.text == "old"


def test_an_error_is_over_once_nothing_is_paused_by_it() -> None:
    """While the consumer waits at the record that failed, its error lasts."""
    paused = ConsumerStatus(
        "a", paused=("t/0@5",), last_error="no", last_error_at=datetime(2026, 1, 5, tzinfo=UTC)
    )
    assert not newest_error([paused]).over


def test_the_states_are_the_contracts() -> None:
    """Each state has the contract's number."""
    for state in ServiceState:
        assert ops_pb2.ServiceState.Value(f"SERVICE_STATE_{state.name}") == state
