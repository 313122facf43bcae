"""Bounds the calls that a server works on at once; what is over is refused at once. A core: no I/O, no clock, no await.

Each kind of call has bounds of its own, so that one kind never takes another's place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from alphapanda.contract.method_policy import MethodPolicy
from alphapanda.mesh.bounds import CallBounds
from alphapanda.mesh.errors import TooMany

ALWAYS_ADMITTED: Final = 4
"""Calls of one kind that a connection may have at once although the server's bound is reached, up to twice that bound:
a few connections that fill the server don't shut the others out."""


class CallKind(StrEnum):
    """What bounds a call."""

    QUERY = "query"
    COMMAND = "command"
    WATCH = "watch"
    URGENT = "urgent"
    INTERNAL = "internal"
    INTERNAL_URGENT = "internal_urgent"


_REASONS: Final = {
    CallKind.QUERY: ("TOO_MANY_QUERIES", "queries are being answered"),
    CallKind.COMMAND: ("TOO_MANY_COMMANDS", "commands are running"),
    CallKind.WATCH: ("TOO_MANY_WATCHES", "watches are open"),
    CallKind.URGENT: ("TOO_MANY_URGENT_CALLS", "urgent commands are running"),
    CallKind.INTERNAL: ("TOO_MANY_INTERNAL_CALLS", "calls between services are running"),
    CallKind.INTERNAL_URGENT: ("TOO_MANY_INTERNAL_CALLS", "urgent calls between services are running"),
}


def kind_of(policy: MethodPolicy, *, streaming: bool) -> CallKind:
    """Returns the kind of an RPC's calls."""
    if policy.is_internal:
        return CallKind.INTERNAL_URGENT if policy.is_urgent else CallKind.INTERNAL
    if policy.is_urgent:
        return CallKind.URGENT
    if streaming:
        return CallKind.WATCH
    return CallKind.COMMAND if policy.is_command else CallKind.QUERY


class Bound(NamedTuple):
    """Calls of one kind at once: of the server, and of one holder."""

    server: int
    holder: int


def bounds_by_kind(bounds: CallBounds) -> dict[CallKind, Bound]:
    """Returns each kind's bound. Calls between services share a connection, so only the server's bound holds there."""
    return {
        CallKind.QUERY: Bound(bounds.max_queries, bounds.max_queries_per_connection),
        CallKind.COMMAND: Bound(bounds.max_commands, bounds.max_commands_per_connection),
        CallKind.WATCH: Bound(bounds.max_watches, bounds.max_watches_per_connection),
        CallKind.URGENT: Bound(bounds.max_urgent_calls, bounds.max_urgent_calls_per_connection),
        CallKind.INTERNAL: Bound(2 * bounds.max_commands, 2 * bounds.max_commands),
        CallKind.INTERNAL_URGENT: Bound(2 * bounds.max_urgent_calls, 2 * bounds.max_urgent_calls),
    }


class Ticket:
    """The place of an admitted call. It is free again when everyone who held it has released it."""

    __slots__ = ("_admission", "_holders", "_holds", "_kind")

    def __init__(self, admission: Admission, kind: CallKind, holders: Sequence[str]) -> None:
        self._admission = admission
        self._kind = kind
        self._holders = holders
        self._holds = 1

    def hold(self) -> None:
        """Keeps the place beyond the call: its command is still running."""
        self._holds += 1

    def release(self, _: object = None) -> None:
        """Gives the place back, once for the call and once for each `hold`."""
        self._holds -= 1
        if not self._holds:
            self._admission.free(self._kind, self._holders)


class Admission:
    """The calls that a server works on, by kind and by holder.

    Holders are whom a call counts for: its connection, and its caller too where that is a person.

    Args:
        bounds: most calls at once.

    Attributes:
        refused: number of refused calls, by (reason, method); methods are the contract's.
    """

    def __init__(self, bounds: CallBounds) -> None:
        self.refused: Counter[tuple[str, str]] = Counter()
        self._bounds = bounds_by_kind(bounds)
        self._running = dict.fromkeys(CallKind, 0)
        self._held: dict[tuple[CallKind, str], int] = {}

    @property
    def running(self) -> dict[CallKind, int]:
        """Number of calls at work, by kind."""
        return self._running.copy()

    @property
    def limits(self) -> dict[CallKind, int]:
        """Number of calls that may be at work at once, by kind."""
        return {kind: bound.server for kind, bound in self._bounds.items()}

    def admit(self, kind: CallKind, method: str, holders: Sequence[str]) -> Ticket:
        """Admits a call; its ticket is released when it has ended.

        Raises:
            TooMany: a bound is reached.
        """
        bound, running = self._bounds[kind], self._running[kind]
        held = max(self._held.get((kind, holder), 0) for holder in holders)
        if held >= bound.holder:
            whose = (
                "caller"
                if self._held.get((kind, holders[-1]), 0) == held and len(holders) > 1
                else "connection"
            )
            raise self._refusal(kind, method, f"{held} {_REASONS[kind][1]} for this {whose}")
        if running >= bound.server and (held >= ALWAYS_ADMITTED or running >= 2 * bound.server):
            raise self._refusal(kind, method, f"{running} {_REASONS[kind][1]} here")
        self._running[kind] = running + 1
        for holder in holders:
            self._held[kind, holder] = self._held.get((kind, holder), 0) + 1
        return Ticket(self, kind, holders)

    def free(self, kind: CallKind, holders: Sequence[str]) -> None:
        """Called by a ticket that nobody holds any more."""
        self._running[kind] -= 1
        for holder in holders:
            left = self._held[kind, holder] - 1
            if left:
                self._held[kind, holder] = left
            else:
                del self._held[kind, holder]

    def _refusal(self, kind: CallKind, method: str, what: str) -> TooMany:
        reason = _REASONS[kind][0]
        self.refused[reason, method] += 1
        return TooMany(reason, f"{what}, as many as may be at once; wait for some to end and try again")
