"""Lets watches wait for the next revision of an account.

The revision of a (broker, account) is raised in the transaction that changes its state, so every replica sees it. One
query polls for all watchers of a process together; without watchers it doesn't poll.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

import structlog

from alphapanda.mesh.errors import OutOfRange, TooMany
from alphapanda.resilience.tasks import kept_running

MOST_BEHIND = 10_000
"""A watch that is further behind must begin with a snapshot, which is smaller than the missed changes."""

Account = TypeVar("Account", bound=Hashable)
"""Identifies a broker's account."""

_log = structlog.get_logger(__name__)


def check_reachable(after: int, newest: int) -> None:
    """Requires that a watch can continue after a revision.

    Raises:
        OutOfRange: the revision isn't there yet, or is too far behind.
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
    """Limits how many watches are open at once.

    Args:
        most: the limit.
        what: the noun in the error message, such as "watches".
    """

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self._open = 0

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Counts a watch while it is open.

        Raises:
            TooMany: the limit is reached.
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
    """The newest revisions, polled while there are watchers.

    Args:
        read: reads the current revisions, by account.
        interval_seconds: wall time between two polls.
    """

    def __init__(
        self, read: Callable[[], Awaitable[Mapping[Account, int]]], interval_seconds: float = 0.1
    ) -> None:
        self._read = read
        self._interval = interval_seconds
        self._newest: Mapping[Account, int] = {}
        self._watchers = 0
        self._watched = asyncio.Event()
        self._moved = asyncio.Event()
        self._poll_now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.draining = False

    async def start(self) -> None:
        """Starts polling."""
        self.draining = False
        self._task = kept_running(self._poll, "watching revisions", _log)

    async def stop(self) -> None:
        """Wakes every watcher for its last message, and stops polling."""
        self.draining = True
        self._wake()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def poll_now(self) -> None:
        """Polls at once: this process has committed a change."""
        self._poll_now.set()

    async def beyond(self, account: Account, revision: int, timeout: float | None = None) -> bool:
        """Waits for a revision above `revision`; returns False after `timeout` seconds, or when the server stops."""
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

    async def _poll(self) -> None:
        while True:
            if not self._watchers:
                self._watched.clear()
                await self._watched.wait()
            self._poll_now.clear()
            await self._poll_once()
            try:
                async with asyncio.timeout(self._interval):
                    await self._poll_now.wait()
            except TimeoutError:
                continue

    async def _poll_once(self) -> None:
        newest = await self._read()
        if newest != self._newest:
            self._newest = newest
            self._wake()
