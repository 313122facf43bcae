"""An event loop whose time passes only when nothing else is to be done: hours take as long as their steps."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from heapq import heappop
from typing import Any, TypeVar

from typing_extensions import override

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer where it would wait for it. Nothing on it may wait for the world outside."""

    def __init__(self) -> None:
        super().__init__(selectors.SelectSelector())
        self._now = 0.0

    @override
    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        internals: Any = self
        timers = internals._scheduled
        while timers and timers[0]._cancelled:
            heappop(timers)._scheduled = False
            internals._timer_cancelled_count -= 1
        if timers and not internals._ready:
            self._now = max(self._now, timers[0]._when)
        parent: Any = super()
        parent._run_once()


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Runs work to its end on a virtual loop."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(work)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        asyncio.set_event_loop(None)
        loop.close()
