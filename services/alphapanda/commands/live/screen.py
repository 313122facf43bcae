"""Draws the view on a terminal and refreshes it at an interval."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.live import Live

from alphapanda.commands.live.picture import picture
from alphapanda.commands.live.view import View

DRAW_SECONDS: Final = 1.0


async def shown(view: View, console: Console, clock: Callable[[], float]) -> None:
    """Draws the view until it is cancelled, then restores the terminal.

    Args:
        view: what is drawn; another task feeds it.
        console: a terminal.
        clock: the view's.
    """
    with Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
        while True:
            width, height = console.size
            drawn = picture(view, now=clock(), width=width, height=height)
            # In a thread: laying out takes milliseconds that in `up` belong to the services.
            await asyncio.to_thread(live.update, drawn, refresh=True)
            await asyncio.sleep(DRAW_SECONDS)
