from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from alphapanda.resilience.breakers import Breakers
from alphapanda.resilience.failures import TransientFailure

AWAY = TransientFailure("no answer", "Redis")


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breakers(clock) -> Breakers:
    """Three failures in a row open a circuit for five seconds."""
    return Breakers(3, 5.0, clock)


async def attempt(breakers: Breakers, error: Exception | None, broker: str = "paper") -> None:
    async def made() -> Exception | None:
        return error

    assert await breakers.watched(broker, made) is error


async def test_a_circuit_opens_after_failures_in_a_row(breakers, clock) -> None:
    """The third failure of a dependency in a row makes the broker wait, and the wait gets shorter as time passes."""
    for _ in range(2):
        await attempt(breakers, AWAY)
    assert breakers.closed_for("paper") == 0
    await attempt(breakers, AWAY)
    assert breakers.closed_for("paper") == 5.0
    clock.now += 4
    assert breakers.closed_for("paper") == 1.0
    assert breakers.reason("paper").startswith("circuit to Redis is open: TransientFailure")


async def test_a_success_between_failures_starts_the_count_again(breakers) -> None:
    """Failures count only in a row."""
    for error in (AWAY, AWAY, None, AWAY, AWAY):
        await attempt(breakers, error)
    assert breakers.closed_for("paper") == 0


async def test_each_dependency_is_counted_for_itself(breakers) -> None:
    """Two failures of one and two of another open nothing; a failure that is nobody's counts for nothing."""
    for _ in range(2):
        await attempt(breakers, AWAY)
        await attempt(breakers, TransientFailure("no answer", "PostgreSQL"))
        await attempt(breakers, ValueError("a bug"))
    assert breakers.closed_for("paper") == 0
    assert breakers.reason("paper") == ""


async def test_brokers_have_circuits_of_their_own(breakers) -> None:
    """What makes one broker wait doesn't hold up another."""
    for _ in range(3):
        await attempt(breakers, AWAY, "zerodha")
    assert breakers.closed_for("zerodha") == 5.0
    assert breakers.closed_for("paper") == 0


async def test_one_attempt_goes_ahead_of_the_others(breakers, clock) -> None:
    """When the wait is over one attempt is made; the others wait until it has ended."""
    for _ in range(3):
        await attempt(breakers, AWAY)
    clock.now += 5
    assert breakers.closed_for("paper") == 0
    ended = asyncio.Event()

    async def waits() -> None:
        await ended.wait()

    probe = asyncio.create_task(breakers.watched("paper", waits))
    await asyncio.sleep(0)
    assert breakers.closed_for("paper") > 0
    ended.set()
    await probe
    assert breakers.closed_for("paper") == 0


async def test_a_failed_probe_opens_the_circuit_again(breakers, clock) -> None:
    """One failure after the wait is enough for another wait; opening is logged once, closing once."""
    with capture_logs() as logs:
        for _ in range(3):
            await attempt(breakers, AWAY)
        clock.now += 5
        await attempt(breakers, AWAY)
        assert breakers.closed_for("paper") == 5.0
        clock.now += 5
        await attempt(breakers, None)
    assert breakers.closed_for("paper") == 0
    assert breakers.reason("paper") == ""
    assert [(line["event"], line["dependency"]) for line in logs] == [
        ("breaker.opened", "Redis"),
        ("breaker.closed", "Redis"),
    ]


async def test_an_attempt_that_is_cancelled_blocks_nobody(breakers, clock) -> None:
    """A probe that is cancelled leaves the way to the next one."""
    for _ in range(3):
        await attempt(breakers, AWAY)
    clock.now += 5

    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await breakers.watched("paper", cancelled)
    assert breakers.closed_for("paper") == 0


async def test_what_has_come_back_is_tried_at_once(breakers) -> None:
    """Who learns that a dependency has come back need not wait for the circuit's time."""
    for _ in range(3):
        await attempt(breakers, AWAY)
    breakers.probe_now()
    assert breakers.closed_for("paper") == 0
    await attempt(breakers, AWAY)
    assert breakers.closed_for("paper") == 5.0
