"""Bounds the waits of a start, and says what it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from alphapanda.embedded.errors import StartTimedOut

SAY_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.05
_CANCEL_SECONDS: Final = 10.0

T = TypeVar("T")


async def within(
    work: Awaitable[T], what: Callable[[], str], seconds: float, progress: Callable[[str], None]
) -> T:
    """Awaits a part of the start; while it takes long, says every few seconds what is waited for.

    Args:
        work: the part.
        what: names what is waited for now.
        seconds: the part is cancelled after this time.
        progress: called with a line for a person.

    Raises:
        StartTimedOut: the part wasn't done in time.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    deadline = loop.time() + seconds
    try:
        while not task.done():
            left = deadline - loop.time()
            if left <= 0:
                raise StartTimedOut(what(), seconds)
            await asyncio.wait([task], timeout=min(left, SAY_SECONDS))
            if not task.done():
                progress(f"still waiting for {what()}")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_CANCEL_SECONDS)


async def until(reached: Callable[[], bool]) -> None:
    """Polls until a condition holds. Bound it by `within`."""
    while not reached():  # noqa: ASYNC110 - the other task offers no event to wait for
        await asyncio.sleep(_POLL_SECONDS)
