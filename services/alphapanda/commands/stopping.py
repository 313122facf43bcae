"""Starts and stops a process that runs until Ctrl-C or SIGTERM; both also cancel the start."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import structlog

from alphapanda.app.collecting import collect_less

SAY_SECONDS: Final = 1.0
"""How often a stop that takes long says what it waits for."""

_log = structlog.get_logger(__name__)


async def started(start: Coroutine[Any, Any, None]) -> asyncio.Task[object] | None:
    """Awaits a start, which Ctrl-C or SIGTERM cancels.

    Returns:
        What ends once the process is asked to stop; None where it was asked before the start was over.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    starting = asyncio.create_task(start)
    asked: asyncio.Task[object] = asyncio.create_task(stopping.wait())
    await asyncio.wait([starting, asked], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait([starting])
        return None
    starting.result()
    collect_less()
    return asked


async def stopped(
    stop: Coroutine[Any, Any, None],
    ending: Callable[[], Sequence[str]],
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Awaits a stop; where it takes long, logs and says what it still waits for.

    Args:
        stop: stops everything.
        ending: names the parts that are being stopped now.
        say: called with a line for people.
    """
    task = asyncio.create_task(stop)
    said: tuple[str, ...] = ()
    while not task.done():
        await asyncio.wait([task], timeout=SAY_SECONDS)
        waits_for = tuple(sorted(set(ending())))
        if not task.done() and waits_for not in {(), said}:
            said = waits_for
            _log.info("stop.waiting", parts=list(waits_for))
            say(f"stopping: waiting for {', '.join(waits_for)}")
    task.result()
