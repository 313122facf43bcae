"""Waiting for a revision: what a watch sleeps on between two messages.

The revision of a (broker, account) is raised in the transaction of the state itself, so any replica sees it; one
question to the database is asked for all watchers of a process together, and none while nobody watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

import structlog

from alphapanda.mesh.errors import OutOfRange, TooMany
from alphapanda.resilience.attempts import passing_failure
from alphapanda.resilience.failures import in_one_line

MOST_WATCHES = 2000
"""Watches that a server keeps open at once."""
MOST_BEHIND = 10_000
"""A watch that is further behind begins with a snapshot: that is less to send than what it missed."""

Account = TypeVar("Account", bound=Hashable)
"""What names a broker and an account."""

_log = structlog.get_logger(__name__)


def check_reachable(after: int, newest: int) -> None:
    """Whether a watch can go on after a revision.

    Raises:
        OutOfRange: it isn't there yet, or is too far behind.
    """
    if newest - MOST_BEHIND <= after <= newest:
        return
    raise OutOfRange(
        "REVISION_GONE",
        f"after_revision {after} is not between {max(newest - MOST_BEHIND, 0)} and {newest};"
        " begin again with a snapshot (after_revision 0)",
        after_revision=str(after),
        newest_revision=str(newest),
    )


class WatchLimit:
    """How many watches may be open at once; a caller who opens them without end gets no more.

    Args:
        most: that many.
        what: they are called in the refusal, such as "watches".
    """

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self._open = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Counts a watch while it is open.

        Raises:
            TooMany: there are as many as may be.
        """
        if self._open >= self._most:
            raise TooMany(
                "TOO_MANY_WATCHES", f"{self._open} {self._what} are open, as many as may be; close some"
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


class Revisions(Generic[Account]):
    """The newest revisions, looked at while somebody watches.

    Args:
        read: the revisions now, by broker and account.
        interval_seconds: wall time between two looks.
    """

    def __init__(
        self, read: Callable[[], Awaitable[Mapping[Account, int]]], interval_seconds: float = 0.1
    ) -> None:
        self._read = read
        self._interval = interval_seconds
        self._newest: Mapping[Account, int] = {}
        self._watchers = 0
        self._away = False
        self._watched = asyncio.Event()
        self._moved = asyncio.Event()
        self._look_now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.draining = False

    async def start(self) -> None:
        """Begins."""
        self.draining = False
        self._task = asyncio.create_task(self._look(), name="revisions")

    async def stop(self) -> None:
        """Wakes every watcher for its last message."""
        self.draining = True
        self._wake()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def look_now(self) -> None:
        """Something was committed here: the next look needn't wait for its time."""
        self._look_now.set()

    async def beyond(self, account: Account, revision: int, timeout: float | None = None) -> bool:
        """Whether a revision above `revision` is there; waits for one, or `timeout` seconds, or the stop."""
        self._watchers += 1
        self._watched.set()
        try:
            async with asyncio.timeout(timeout):
                while not self.draining:
                    if self._newest.get(account, 0) > revision:
                        return True
                    await self._moved.wait()
        except TimeoutError:
            pass
        finally:
            self._watchers -= 1
        return False

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def _look(self) -> None:
        while True:
            if not self._watchers:
                self._watched.clear()
                await self._watched.wait()
            self._look_now.clear()
            await self._look_once()
            try:
                async with asyncio.timeout(self._interval):
                    await self._look_now.wait()
            except TimeoutError:
                continue

    async def _look_once(self) -> None:
        away = await passing_failure(self._take(), _log, "watching revisions")
        if away is not None and not self._away:
            _log.warning("watches wait", error=in_one_line(away))
        self._away = away is not None

    async def _take(self) -> None:
        newest = await self._read()
        if newest != self._newest:
            self._newest = newest
            self._wake()
