"""Time budgets of calls to other systems: a call that isn't over in time is given up, whatever it does about it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

MOMENT_SECONDS: Final = 0.02
"""An event loop that stood still may find budget and answer over at the same time; the answer is read within this."""

T = TypeVar("T")


async def within(seconds: float, call: Coroutine[Any, Any, T]) -> T:
    """Returns the result of a call that is over within its budget.

    A call that isn't is cancelled and not waited for, because a client library may swallow the cancellation.

    Raises:
        TimeoutError: the budget is over; and what the call raises.
    """
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
        if not done:
            done, _ = await asyncio.wait([task], timeout=MOMENT_SECONDS)
    except asyncio.CancelledError:
        _give_up(task)
        raise
    if not done:
        _give_up(task)
        raise TimeoutError(f"no answer within {seconds:g} s")
    return task.result()


def _give_up(task: asyncio.Future[Any]) -> None:
    task.cancel()
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
