"""Lets few calls work at a time, and each connection in its turn.

Every service of a process runs on one event loop. Were all admitted calls to work on it at once, a call of a quiet
connection would take as long as all of a loud one's together. So the others wait, and a connection that had no call waiting
is served first: one whose calls are few hardly waits at all (the "new flows first" of fq_codel, RFC 8290).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import AbstractAsyncContextManager

from typing_extensions import override

from alphapanda.mesh.errors import TooMany


class Turns:
    """Gives turns to calls.

    A call that holds its turn for longer than the lease is waiting for something (a database, an order's end), not
    computing: it goes on, and its turn goes to the next call.

    Args:
        most: calls at work at once.
        lease_seconds: how long a turn is counted.
        patience_seconds: a call that waits longer is refused, while there is still time to tell its caller.
        for_quiet: turns beside those, for connections without another call at work or waiting.
    """

    def __init__(self, most: int, lease_seconds: float, patience_seconds: float, for_quiet: int = 0) -> None:
        self._most = most
        self._patience = patience_seconds
        self._for_quiet = for_quiet
        self._lease = lease_seconds
        self._working: dict[object, float] = {}  # since when, in loop time; the oldest first
        self._waking = 0  # have been given a turn, and take it when their task runs
        self._loud: Counter[str] = Counter()  # calls at work or waiting, by connection
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._new: deque[str] = deque()
        self._old: deque[str] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def turn(self, holder: str) -> AbstractAsyncContextManager[None]:
        """Waits for a turn of this holder (a connection); the turn ends with the context.

        Raises:
            TooMany: there was none within the patience.
        """
        return _Turn(self, holder)

    async def begin(self, turn: object, holder: str) -> None:
        """Called by a turn: waits until it has begun."""
        most = self._most if self._loud[holder] else self._most + self._for_quiet
        self._loud[holder] += 1
        if len(self._working) + self._waking >= most or (self._waiting and most == self._most):
            try:
                await self._wait(holder)
            except BaseException:
                self._quieten(holder)
                raise
        self._working[turn] = asyncio.get_running_loop().time()
        if self._waiting:
            self._watch_leases()

    def end(self, turn: object, holder: str) -> None:
        """Called by a turn that has ended."""
        if self._working.pop(turn, None) is not None:
            self._serve()
        self._quieten(holder)

    def _quieten(self, holder: str) -> None:
        self._loud[holder] -= 1
        if not self._loud[holder]:
            del self._loud[holder]

    async def _wait(self, holder: str) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if (queue := self._waiting.get(holder)) is None:
            queue = self._waiting[holder] = deque()
            self._new.append(holder)
        queue.append(place)
        self._serve()
        self._watch_leases()
        try:
            async with asyncio.timeout(self._patience):
                await place
        except (asyncio.CancelledError, TimeoutError) as ended:
            if not place.cancelled():  # given the turn at the same moment
                self._waking -= 1
                self._serve()
            if isinstance(ended, TimeoutError):
                raise TooMany(
                    "TOO_BUSY", f"no turn within {self._patience:g} s, so many calls are at work; try again"
                ) from None
            raise
        self._waking -= 1

    def _serve(self) -> None:
        """Gives free turns to waiting calls."""
        while self._waiting and len(self._working) + self._waking < self._most:
            holder = (self._new or self._old).popleft()
            queue = self._waiting[holder]
            while queue and queue[0].done():  # its call was cancelled
                queue.popleft()
            if queue:
                queue.popleft().set_result(None)
                self._waking += 1
            if queue:
                self._old.append(holder)
            else:
                del self._waiting[holder]

    def _watch_leases(self) -> None:
        if self._timer is None and self._working and self._waiting:
            oldest = next(iter(self._working.values()))
            self._timer = asyncio.get_running_loop().call_at(oldest + self._lease, self._end_leases)

    def _end_leases(self) -> None:
        self._timer = None
        over = asyncio.get_running_loop().time() - self._lease
        for turn in [turn for turn, since in self._working.items() if since <= over]:
            del self._working[turn]
        self._serve()
        self._watch_leases()


class _Turn(AbstractAsyncContextManager[None]):
    """A turn of one call. A class of its own, because a generator of contextlib's costs a call three times as much."""

    __slots__ = ("_holder", "_turns")

    def __init__(self, turns: Turns, holder: str) -> None:
        self._turns = turns
        self._holder = holder

    @override
    async def __aenter__(self) -> None:
        await self._turns.begin(self, self._holder)

    @override
    async def __aexit__(self, *_: object) -> None:
        self._turns.end(self, self._holder)
