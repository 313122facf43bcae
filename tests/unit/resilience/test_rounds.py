"""Work beside the consumers: what waits, what ends it, and who is told."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from structlog.testing import LogCapture

from alphapanda.resilience.failures import TransientFailure
from alphapanda.resilience.rounds import Rounds

LONG = 3600.0


class Work:
    """Fails as it is told to, one error a round; `rounds` counts them and `enough` is set after `wanted`."""

    def __init__(self, *errors: Exception | None, wanted: int = 1) -> None:
        self.rounds = 0
        self.enough = asyncio.Event()
        self._errors = list(errors)
        self._wanted = wanted

    async def __call__(self) -> None:
        self.rounds += 1
        if self.rounds >= self._wanted:
            self.enough.set()
        if self._errors and (error := self._errors.pop(0)) is not None:
            raise error


def rounds_of(work: Work, interval: float, log: LogCapture, *, at_once: bool = True) -> Rounds:
    logger = structlog.wrap_logger(
        None, processors=[log], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    return Rounds("square-off timer", work, interval, logger, at_once=at_once)


async def test_what_passes_by_waiting_is_tried_again() -> None:
    """While a database is away rounds go on, and the service with them."""
    log, work = LogCapture(), Work(ConnectionRefusedError(), TransientFailure("log"), wanted=3)
    rounds = rounds_of(work, 0.001, log)
    await rounds.start()
    async with asyncio.timeout(20):
        await work.enough.wait()
    await rounds.stop()
    assert rounds.serving
    assert [entry["event"] for entry in log.entries] == ["rounds.delayed", "rounds.delayed"]


async def test_a_bug_ends_them_and_the_service_says_so() -> None:
    """A timer that a bug has ended is an alarm, and its service isn't serving: nobody else would square off."""
    log, work = LogCapture(), Work(KeyError("NSE:INFY"))
    rounds = rounds_of(work, 0.001, log)
    await rounds.start()
    async with asyncio.timeout(20):
        await work.enough.wait()
    await rounds.stop()
    assert (work.rounds, rounds.serving, rounds.last_error) == (1, False, "KeyError: 'NSE:INFY'")
    assert [(entry["log_level"], entry["alarm"]) for entry in log.entries] == [("error", True)]


async def test_a_new_start_forgets_the_bug() -> None:
    """Whoever starts it anew gets rounds, and a service that serves."""
    work = Work(KeyError("once"), wanted=2)
    rounds = rounds_of(work, LONG, LogCapture())
    assert not await rounds.once()
    await rounds.start()
    async with asyncio.timeout(20):
        await work.enough.wait()
    assert rounds.serving
    await rounds.stop()


async def test_a_stop_lets_a_round_end_and_no_other_begin() -> None:
    """What is under way is finished, so that nothing is half told."""
    began, go_on, ended = asyncio.Event(), asyncio.Event(), False

    async def work() -> None:
        nonlocal ended
        began.set()
        await go_on.wait()
        ended = True

    rounds = Rounds("kill switches", work, 0.0, structlog.get_logger(), at_once=True)
    await rounds.start()
    await began.wait()
    stopping = asyncio.create_task(rounds.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    go_on.set()
    async with asyncio.timeout(20):
        await stopping
    assert ended


async def test_the_first_round_may_wait_for_an_interval() -> None:
    """A proof that was made at the start isn't made twice."""
    work = Work()
    rounds = rounds_of(work, LONG, LogCapture(), at_once=False)
    await rounds.start()
    await asyncio.sleep(0.01)
    await rounds.stop()
    assert work.rounds == 0


async def test_a_round_that_hangs_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that answers nothing doesn't hold up the stop; the log names whose round it was."""
    monkeypatch.setattr("alphapanda.resilience.rounds.STOP_SECONDS", 0.01)
    began, log = asyncio.Event(), LogCapture()

    async def hang() -> None:
        began.set()
        await asyncio.Event().wait()

    logger = structlog.wrap_logger(
        None, processors=[log], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    rounds = Rounds("kill switches", hang, 0.0, logger, at_once=True)
    await rounds.start()
    await began.wait()
    async with asyncio.timeout(20):
        await rounds.stop()
    assert [(entry["event"], entry["task"]) for entry in log.entries] == [("rounds.cut_off", "kill switches")]
