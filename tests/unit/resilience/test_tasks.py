"""Long-lived tasks: what fails begins again, and is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from structlog.testing import LogCapture

from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.failures import TransientFailure
from alphapanda.resilience.tasks import kept_running

AT_ONCE = Backoff(0.0001, 0.001)


async def seen_until(work: Callable[[], Awaitable[None]], runs: int) -> list[tuple[str, str]]:
    """Keeps work running until it has begun `runs` times; returns levels and events of the log."""
    log, begun, enough = LogCapture(), 0, asyncio.Event()

    async def counted() -> None:
        nonlocal begun
        begun += 1
        if begun == runs:
            enough.set()
            await asyncio.Event().wait()
        await work()

    logger = structlog.wrap_logger(
        None, processors=[log], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    task = kept_running(counted, "watching revisions", logger, AT_ONCE)
    async with asyncio.timeout(20):
        await enough.wait()
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    return [(entry["log_level"], entry["event"]) for entry in log.entries]


async def test_a_bug_ends_no_task_and_is_an_alarm() -> None:
    """The work begins again; of failures in a row the first, second and fourth are told."""

    async def work() -> None:
        raise KeyError("NSE:INFY")

    assert await seen_until(work, 6) == [("error", "task.failed")] * 3


async def test_a_failure_that_passes_is_a_warning() -> None:
    """A database that is away isn't a bug."""

    async def work() -> None:
        raise TransientFailure("the database is away")

    assert await seen_until(work, 2) == [("warning", "task.delayed")]


async def test_work_that_returns_has_ended() -> None:
    """What is done isn't begun again."""
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1

    await kept_running(work, "once", structlog.get_logger(), AT_ONCE)
    assert begun == 1
