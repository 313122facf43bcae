"""An event loop whose time is virtual and whose turns are dealt by a seed.

Every simulated process has a first-in-first-out queue of its own, as a real process has; which process takes the next
turn is chance. A process that is frozen keeps its queue and gets no turn while time goes on; one that is dead gets none
ever again. Whose a callback is follows from the context it was scheduled with, so product code needs to know nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from enum import Enum
from random import Random
from typing import Any

from typing_extensions import override


class Condition(Enum):
    """Whether a process takes turns."""

    RUNNING = "running"
    FROZEN = "frozen"
    DEAD = "dead"


class Process:
    """One life of one process.

    Attributes:
        name: such as "risk-1"; the next life has the same.
        life: 1, 2, 3 ….
        condition: whether it takes turns.
        tasks: all it started, in order.
    """

    def __init__(self, name: str, life: int = 1) -> None:
        self.name = name
        self.life = life
        self.condition = Condition.RUNNING
        self.tasks: list[asyncio.Task[Any]] = []
        self.ready: deque[asyncio.Handle] = deque()
        self.listed = False
        self.context = Context()
        self.context.run(CURRENT.set, self)

    @override
    def __str__(self) -> str:
        return f"{self.name}/{self.life}"


CURRENT: ContextVar[Process] = ContextVar("process")
"""The process in whose context we are."""


class SeededLoop(asyncio.BaseEventLoop):
    """The loop. Nothing in it waits: when nobody has a turn, time goes on to the next timer.

    Args:
        chance: deals the turns.
        outside: the process of what isn't simulated to fail: servers, the network, the test itself.
    """

    def __init__(self, chance: Random, outside: Process) -> None:
        super().__init__()
        self.turns = 0
        self.unhandled: list[str] = []
        self._chance = chance
        self._outside = outside
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_number = 0
        self._runnable: list[Process] = []
        self.set_exception_handler(self._note)

    @override
    def time(self) -> float:
        return self._now

    # -- scheduling ---------------------------------------------------------------------------------------------------

    @override
    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        context = context or copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._enqueue(handle, context.get(CURRENT) or self._outside)
        return handle

    call_soon_threadsafe = call_soon

    @override
    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context or copy_context())
        self._timer_number += 1
        heapq.heappush(self._timers, (when, self._timer_number, timer))
        timer._scheduled = True
        return timer

    @override
    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    @override
    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        ((context or copy_context()).get(CURRENT) or self._outside).tasks.append(task)
        return task

    def spawn(self, process: Process, coro: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
        """Runs a coroutine in a process; in a dead one it never begins and never ends."""
        if process.condition is Condition.DEAD:
            coro.close()
            return self.create_future()
        return self.create_task(coro, context=process.context.copy())

    def thaw(self, process: Process) -> None:
        """A process takes turns again; what came meanwhile waits in its queue."""
        process.condition = Condition.RUNNING
        self._list(process)

    def kill(self, process: Process) -> None:
        """A process takes no turn any more; its tasks are unwound, so that nothing of them lives on in shared objects.

        What they would still do on the way out reaches nobody: every adapter refuses a dead process.
        """
        with warnings.catch_warnings():
            # A call that takes the cancellation for an answer begins the next one, which has no loop any more.
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            for task in process.tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                if task.done():
                    continue
                coro: Any = task.get_coro()
                process.context.copy().run(_unwind, coro)
        process.tasks.clear()
        process.ready.clear()

    def _enqueue(self, handle: asyncio.Handle, process: Process) -> None:
        if process.condition is Condition.DEAD:
            return
        process.ready.append(handle)
        self._list(process)

    def _list(self, process: Process) -> None:
        if process.ready and not process.listed and process.condition is Condition.RUNNING:
            process.listed = True
            self._runnable.append(process)

    # -- running ------------------------------------------------------------------------------------------------------

    @override
    def _run_once(self) -> None:
        while not self._runnable and self._timers:
            self._now = max(self._now, self._timers[0][0])
            self._fire()
        if not self._runnable:
            raise RuntimeError("nobody has anything to do and nothing will ever happen")
        runnable = self._runnable
        at = int(self._chance.random() * len(runnable)) if len(runnable) > 1 else 0
        process = runnable[at]
        if process.condition is not Condition.RUNNING or not process.ready:
            process.listed = False
            del runnable[at]
            return
        handle = process.ready.popleft()
        if not process.ready:
            process.listed = False
            del runnable[at]
        if not handle._cancelled:
            self.turns += 1
            handle._run()

    def _fire(self) -> None:
        while self._timers and self._timers[0][0] <= self._now:
            _, _, timer = heapq.heappop(self._timers)
            timer._scheduled = False
            if not timer._cancelled:
                self._enqueue(timer, timer._context.get(CURRENT) or self._outside)  # type: ignore[attr-defined]

    @override
    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are passed over when their time comes."""

    @override
    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Generators left by the dead are let go of: a collector's moment must not decide anything."""

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error, task = context.get("exception"), context.get("future") or context.get("task")
        name = task.get_name() if isinstance(task, asyncio.Task) else ""
        self.unhandled.append(f"{name} {context.get('message')}: {error!r}")


def _unwind(coro: Coroutine[Any, Any, Any]) -> None:
    try:
        coro.throw(asyncio.CancelledError())
    except BaseException:  # noqa: BLE001 - whatever a dying task says, nobody hears it
        return
    try:
        coro.close()
    except RuntimeError:
        return


def heard(task: asyncio.Future[Any]) -> None:
    """Whoever asked may be gone when the task fails."""
    if not task.cancelled():
        task.exception()
