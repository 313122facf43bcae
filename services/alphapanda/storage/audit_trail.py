"""Writes the audit beside the commands of a process: the entry before the effect, its outcome soon after it.

No command has an effect without an entry: where the entry can't be stored, the command is refused. The outcome isn't waited
for; where the process dies before it is stored, the entry says that its outcome isn't known. Refused commands cost
nobody time: they are stored in the background, and a flood of them is counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from time import monotonic
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line, is_transient
from alphapanda.resilience.lanes import Lane, current_lane
from alphapanda.resilience.tasks import kept_running
from alphapanda.storage.audit import AuditEntry, Outcome, PostgresAudit
from alphapanda.storage.group_commit import GroupCommit
from alphapanda.storage.refused_commands import MINUTE, RefusedCommands

BEGIN_SECONDS: Final = 5.0
"""Longest wait until an entry is stored; then its command is refused."""

TOGETHER: Final = 500
"""Entries, or outcomes, that one statement stores."""

MOST_WAITING: Final = 10_000
"""Outcomes, and refused commands, that wait for the database; the oldest are dropped, with an alarm that says how many."""

FLUSH_SECONDS: Final = 2.0
"""How long a stop waits until what waits is stored."""

_log = structlog.get_logger(__name__)


class AuditTrail:
    """The audit of a process's commands.

    Args:
        engine: the database.
        clock: seconds of a clock that never goes back.

    Attributes:
        lost: outcomes and refused commands that could not be stored, since the process started.
    """

    name = "audit"

    def __init__(self, engine: AsyncEngine, clock: Callable[[], float] = monotonic) -> None:
        self.lost = 0
        self._store = PostgresAudit(engine)
        self._clock = clock
        # A group has the connections of its lane: a flood of commands holds up no kill switch.
        self._groups = {lane: GroupCommit(self._store.add, TOGETHER) for lane in Lane}
        self._ended: dict[str, Outcome] = {}
        self._entries: deque[AuditEntry] = deque(maxlen=MOST_WAITING)
        self._refused = RefusedCommands(clock())
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts to store outcomes and refused commands."""
        self._task = kept_running(self._run, "audit", _log)

    async def stop(self) -> None:
        """Stores what waits, for up to FLUSH_SECONDS; what is left then is lost, and the log says how much."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._keep(*self._refused.due(self._clock(), ending=True))
        error = await attempted(asyncio.wait_for(self._flush(), FLUSH_SECONDS))
        if error is not None:
            self._lose(len(self._ended) + len(self._entries), error)

    async def begin(self, entry: AuditEntry) -> None:
        """Stores a command's entry, before its effect.

        Raises:
            SQLAlchemyError, OSError: it can't be stored, or not in time: the command must not have an effect.
        """
        async with asyncio.timeout(BEGIN_SECONDS):
            await self._groups[current_lane.get()].submit(entry)

    def end(self, entry_id: str, outcome: Outcome) -> None:
        """Takes a command's outcome, which is stored soon."""
        if len(self._ended) >= MOST_WAITING:
            del self._ended[next(iter(self._ended))]
            self._lose(1, None)
        self._ended[entry_id] = outcome
        self._wake.set()

    def refuse(self, entry: AuditEntry) -> None:
        """Takes a command that was refused before it had an effect; it is stored soon, or counted."""
        self._keep(*self._refused.take(entry, self._clock()))

    def _keep(self, *entries: AuditEntry) -> None:
        for entry in entries:
            if len(self._entries) == MOST_WAITING:
                self._lose(1, None)
            self._entries.append(entry)
        if entries:
            self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._flush()
            try:
                async with asyncio.timeout(MINUTE):
                    await self._wake.wait()
            except TimeoutError:
                self._keep(*self._refused.due(self._clock()))

    async def _flush(self) -> None:
        """Stores all that waits. What a statement had that failed stays for the next attempt; nothing is stored twice.

        Raises:
            SQLAlchemyError, OSError: the database can't be reached.
        """
        self._wake.clear()
        while self._ended or self._entries:
            if outcomes := dict(islice(self._ended.items(), TOGETHER)):
                await self._stored(self._store.end(outcomes), len(outcomes))
                for entry_id, stored in outcomes.items():
                    if self._ended.get(entry_id) is stored:
                        del self._ended[entry_id]
            if entries := list(islice(self._entries, TOGETHER)):
                await self._stored(self._store.add(entries), len(entries))
                known = {entry.entry_id for entry in entries}
                while self._entries and self._entries[0].entry_id in known:
                    self._entries.popleft()

    async def _stored(self, work: Awaitable[object], number: int) -> None:
        """Stores some; what can never be stored is lost with an alarm, so that it holds up nothing after it."""
        error = await attempted(work)
        if error is not None and is_transient(error):
            raise error
        if error is not None:
            self._lose(number, error)

    def _lose(self, number: int, error: BaseException | None) -> None:
        if not number:
            return
        before, self.lost = self.lost, self.lost + number
        if before.bit_length() != self.lost.bit_length():  # the 1st, 2nd, 4th, 8th …
            why = f"more than {MOST_WAITING} wait for the database" if error is None else in_one_line(error)
            _log.error("audit.outcomes_lost", alarm=True, lost=self.lost, error=why)
