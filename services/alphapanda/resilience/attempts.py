"""Attempts whose failure is an answer, told apart into what passes by waiting and bugs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from alphapanda.resilience.failures import is_transient

T = TypeVar("T")


async def attempted(call: Awaitable[object]) -> Exception | None:
    """What a call failed with, None where it succeeded. For callers that tell failures apart by themselves."""
    try:
        await call
    except Exception as error:
        return error
    return None


async def passing_failure(
    call: Awaitable[object], logger: FilteringBoundLogger, what: str
) -> Exception | None:
    """What a call failed with that passes by waiting, None where it succeeded. A bug is told to the log and raised.

    Args:
        call: what is tried.
        logger: of the module whose work it is.
        what: that work is, for the log line.
    """
    error = await attempted(call)
    if error is not None and not is_transient(error):
        logger.error("task.failed", alarm=True, task=what, exc_info=error)
        raise error
    return error


async def until_it_works(
    call: Callable[[], Awaitable[T]],
    wait: Callable[[Exception, int], Awaitable[None]],
    passes: Callable[[BaseException], bool] = is_transient,
) -> T:
    """The result of a call that is made again while it fails with what passes by waiting; any other failure is raised.

    Args:
        call: makes the call anew each time.
        wait: is given the failure and how many there were in a row, and waits; it may raise to give up.
        passes: which failures pass by waiting.
    """
    results: list[T] = []

    async def once() -> None:
        results.append(await call())

    failures = 0
    while error := await attempted(once()):
        if not passes(error):
            raise error
        failures += 1
        await wait(error, failures)
    return results[0]
