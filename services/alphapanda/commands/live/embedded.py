"""The live view of a platform in this process: a client over loopback, which also shows this process's errors."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime
from typing import Final

import structlog
from rich.console import Console
from typing_extensions import override

from alphapanda.commands.finding import Target
from alphapanda.commands.live.following import Following
from alphapanda.commands.live.screen import shown
from alphapanda.commands.live.view import View
from alphapanda.commands.wording import IST
from alphapanda.mesh.security import PLAINTEXT, ChannelSecurity
from alphapanda.resilience.tasks import kept_running

CTRL_C: Final = "Ctrl-C ends it"
_log = structlog.get_logger(__name__)


class EmbeddedView:
    """The view that `alphapanda up` shows on a terminal.

    Args:
        target: host:port where the platform answers.
        account: whose books are shown.
        console: a terminal.
        log: where the log goes, for people.
        security: how to connect to it.
    """

    def __init__(
        self, target: str, account: str, console: Console, log: str, security: ChannelSecurity = PLAINTEXT
    ) -> None:
        note = f"{CTRL_C} · {target} · log {log}"
        self._following = Following(Target(target, security=security), "", account, note, time.monotonic)
        self._console = console
        self._errors = ErrorsShown(self._following.view)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Starts to follow the platform and to draw."""
        logging.getLogger().addHandler(self._errors)
        view = self._following.view
        self._tasks = [
            kept_running(self._following.run, "view.following", _log),
            kept_running(lambda: shown(view, self._console, time.monotonic), "view.drawing", _log),
        ]

    async def stop(self) -> None:
        """Stops and restores the terminal."""
        logging.getLogger().removeHandler(self._errors)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def say(self, text: str) -> None:
        """Shows a note from now on."""
        self._following.view.note = f"{CTRL_C} · {text}"


class ErrorsShown(logging.Handler):
    """Hands errors in the log to a view."""

    def __init__(self, view: View) -> None:
        super().__init__(logging.ERROR)
        self._view = view

    @override
    def emit(self, record: logging.LogRecord) -> None:
        said = record.msg
        text = (
            f"{said.get('event')}: {said.get('error', '')}" if isinstance(said, dict) else record.getMessage()
        )
        at = datetime.fromtimestamp(record.created, tz=IST)
        self._view.failed(f"{at:%H:%M:%S} {' '.join(text.rstrip(': ').split())}")
