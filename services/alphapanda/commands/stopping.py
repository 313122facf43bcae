"""Starts a process that runs until Ctrl-C or SIGTERM; both also cancel the start."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Coroutine
from typing import Any


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
    gc.freeze()  # what a start builds stays: looking through it again would stop everything for a seventh of a second
    return asked
