"""Runs a call and returns its exception, and retries calls that fail transiently."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from alphapanda.resilience.failures import is_transient

T = TypeVar("T")


async def attempted(call: Awaitable[object]) -> Exception | None:
    """Awaits a call; returns its exception, or None where it succeeded. For callers that classify failures themselves."""
    try:
        await call
    except Exception as error:
        return error
    return None


async def until_it_works(
    call: Callable[[], Awaitable[T]],
    wait: Callable[[Exception, int], Awaitable[None]],
    passes: Callable[[BaseException], bool] = is_transient,
) -> T:
    """Repeats a call while it fails transiently, and returns its result; raises any other failure.

    Args:
        call: starts the call; called again for each attempt.
        wait: called with the failure and the number of failures in a row; waits, or raises to give up.
        passes: whether a failure is transient.
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
