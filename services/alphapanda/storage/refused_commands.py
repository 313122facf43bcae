"""Counts refused commands, so that a flood of them is a few entries of the audit and not one for each. A core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import uuid4

from alphapanda.storage.audit import AuditEntry

EACH_A_MINUTE: Final = 60
"""Refusals that are stored one by one in a minute, of all callers together."""

EACH_OF_A_KIND: Final = 5
"""Of them those of one kind: caller, address, method and outcome."""

MOST_KINDS: Final = 50
"""Kinds that are counted apart in a minute; more are counted together."""

MINUTE: Final = 60.0
OTHERS: Final = "(others)"


@dataclass(slots=True)
class _Count:
    """Refusals of a kind that weren't stored: the first of them, how many, and the last one's time."""

    first: AuditEntry
    calls: int
    last_at: datetime


class RefusedCommands:
    """Decides which refused commands become entries, minute by minute.

    Args:
        now: seconds of a clock that never goes back.
        new_id: makes the id of an entry that stands for many.
    """

    def __init__(self, now: float, new_id: Callable[[], str] = lambda: str(uuid4())) -> None:
        self._minute = now
        self._new_id = new_id
        self._stored = 0
        self._stored_of: dict[tuple[str, ...], int] = {}
        self._counts: dict[tuple[str, ...], _Count] = {}

    def take(self, refused: AuditEntry, now: float) -> list[AuditEntry]:
        """Takes a refused command; returns the entries to be stored now: it, if it is one of few, and what `due` returns."""
        due = self.due(now)
        kind = kind_of(refused)
        of_kind = self._stored_of.get(kind, 0)
        if self._stored < EACH_A_MINUTE and of_kind < EACH_OF_A_KIND:
            self._stored += 1
            self._stored_of[kind] = of_kind + 1
            return [*due, refused]
        if kind not in self._counts and len(self._counts) >= MOST_KINDS:
            kind = (OTHERS,)
        ended = refused.started_at if refused.outcome is None else refused.outcome.ended_at
        counted = self._counts.get(kind)
        if counted is None:
            self._counts[kind] = _Count(refused, 1, ended)
        else:
            counted.calls += 1
            counted.last_at = ended
        return due

    def due(self, now: float, *, ending: bool = False) -> list[AuditEntry]:
        """Returns an entry for each kind that was only counted, once its minute is over, or at once where the process ends."""
        if now - self._minute < MINUTE and not ending:
            return []
        entries = [self._entry(kind, counted) for kind, counted in self._counts.items()]
        self._minute = now
        self._stored = 0
        self._stored_of = {}
        self._counts = {}
        return entries

    def _entry(self, kind: tuple[str, ...], counted: _Count) -> AuditEntry:
        first = counted.first
        outcome = first.outcome and replace(first.outcome, ended_at=counted.last_at)
        whole = replace(
            first, entry_id=self._new_id(), request_id="", request={}, calls=counted.calls, outcome=outcome
        )
        if kind != (OTHERS,):
            return whole
        return replace(whole, caller=OTHERS, peer=OTHERS, method=OTHERS)


def kind_of(refused: AuditEntry) -> tuple[str, ...]:
    """The key under which refusals are counted together: caller, address without its port, method, outcome."""
    outcome = "" if refused.outcome is None else refused.outcome.outcome
    return (refused.caller, refused.peer.rpartition(":")[0], refused.method, outcome)
