"""Records commands in the audit: who gave which, from where, and what came of it (`storage/audit_trail.py` writes it).

A command's entry is stored before its effect, in the effect's own task, and the outcome is recorded when that ends, also if
its caller has gone by then. Calls between services are steps of a command, which its correlation id leads to: of those only
refused ones are recorded. Of what anybody may call, such as a login, the entry is stored when it has succeeded, before its answer
is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import uuid4

import grpc
from google.protobuf.message import Message

from alphapanda.contract.method_policy import MethodPolicy
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.failures import Failure, failure_of
from alphapanda.mesh.request_text import plain_text, request_fields, subjects
from alphapanda.storage.audit import AuditEntry, Outcome
from alphapanda.telemetry.correlation import current_correlation_id
from panda.options.v1 import options_pb2 as options

Fields = Mapping[str, Any]
State = Message | Fields | None
Work = Callable[[], Awaitable[Message]]


class Trail(Protocol):
    """Where entries are written."""

    async def begin(self, entry: AuditEntry) -> None:
        """Stores an entry; an error means that its command must not have an effect."""

    def end(self, entry_id: str, outcome: Outcome) -> None:
        """Takes the outcome of an entry."""

    def refuse(self, entry: AuditEntry) -> None:
        """Takes the entry of a command that was refused."""


@dataclass(slots=True)
class _Record:
    """The command being served: its request once it is read, whether its audit entry is stored, the states that were reported."""

    request: Message | None = None
    begun: bool = False
    before: State = None
    after: State = None


_LATE: Final = grpc.StatusCode.DEADLINE_EXCEEDED
_current: ContextVar[_Record | None] = ContextVar("current_record", default=None)


def record_change(before: State, after: State) -> None:
    """Tells the audit what a command changes, from within its handler: the state before the effect and after it.

    What is alike in both isn't kept.
    """
    record = _current.get()
    if record is not None:
        record.before, record.after = before, after


class CommandRecorder:
    """Records the commands of one RPC.

    Args:
        policy: the RPC's options in the contract; queries are never recorded.
        trail: where entries are written; None: nothing is recorded.
        wall_clock: wall time, aware.
    """

    def __init__(
        self,
        policy: MethodPolicy,
        trail: Trail | None,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._method = policy.method
        self._service = policy.method.split(".")[1]  # "/panda.risk.v1.RiskService/SetKillSwitch"
        self._refusals = trail if policy.is_command else None
        self._effects = None if policy.is_internal else self._refusals
        self._for_strangers = policy.permission == options.PERMISSION_PUBLIC
        self._wall_clock = wall_clock

    def open(self) -> None:
        """Opens the record of a call, in the call's context."""
        if self._refusals is not None:
            _current.set(_Record())

    def read(self, request: Message) -> None:
        """Takes the request, before it is checked."""
        record = _current.get()
        if self._refusals is not None and record is not None:
            record.request = request

    async def effect(self, request: Message, peer: str, work: Work) -> Message:
        """Does a command's work, between its entry and its outcome.

        Raises:
            SQLAlchemyError, OSError: the entry can't be stored; the work wasn't begun.
        """
        record, trail = _current.get(), self._effects
        if trail is None or record is None:
            return await work()
        if self._for_strangers:
            return await self._of_stranger(request, peer, work, record, trail)
        entry = self._entry(request, peer, self._wall_clock())
        await trail.begin(entry)
        record.begun = True
        try:
            answer = await work()
        except asyncio.CancelledError:
            cut_off = "the process stopped before the command had ended"
            trail.end(entry.entry_id, self._outcome("CANCELLED", "STOPPING", cut_off, request, record))
            raise
        except Exception as error:
            failure = failure_of(error)
            text = failure.message if not failure.unexpected else f"{type(error).__name__}: {error}"
            name = failure.code.name
            trail.end(entry.entry_id, self._outcome(name, failure.reason, text, request, record))
            raise
        trail.end(entry.entry_id, self._outcome("OK", "", "", request, record, answer))
        return answer

    async def _of_stranger(
        self, request: Message, peer: str, work: Work, record: _Record, trail: Trail
    ) -> Message:
        """Does a command that anybody may give, such as a login: what fails is counted, as anybody may try it without end.

        What succeeds is stored before its answer is given: nobody has a token of which there is no entry.
        """
        started = self._wall_clock()
        try:
            answer = await work()
        except Exception as error:
            self.refused(failure_of(error), peer)
            record.begun = True
            raise
        outcome = self._outcome("OK", "", "", request, record, answer)
        await trail.begin(replace(self._entry(request, peer, started), outcome=outcome))
        record.begun = True
        return answer

    def refused(self, failure: Failure, peer: str) -> None:
        """Records a command that was refused before its effect; nothing where its entry is stored already.

        Args:
            failure: why.
            peer: from where it came.
        """
        record = _current.get()
        # Past its deadline a command still waits for its turn, and gets an entry then.
        if self._refusals is None or record is None or record.begun or failure.code is _LATE:
            return
        now = self._wall_clock()
        entry = self._entry(record.request, peer, now)
        outcome = Outcome(now, failure.code.name, failure.reason, plain_text(failure.message))
        self._refusals.refuse(replace(entry, outcome=outcome))

    def _entry(self, request: Message | None, peer: str, now: datetime) -> AuditEntry:
        return AuditEntry(
            entry_id=str(uuid4()),
            started_at=now,
            service=self._service,
            method=self._method,
            caller=plain_text(current_caller.get()),
            peer=peer,
            request_id=plain_text(getattr(request, "request_id", "")),
            correlation_id=current_correlation_id.get() or str(uuid4()),
            request={} if request is None else request_fields(request),
        )

    def _outcome(
        self,
        name: str,
        reason: str,
        message: str,
        request: Message,
        record: _Record,
        answer: Message | None = None,
    ) -> Outcome:
        return Outcome(
            self._wall_clock(),
            name,
            reason,
            plain_text(message),
            *_changed(_state(record.before), _state(record.after)),
            subjects([request, answer]),
        )


def _changed(before: Fields | None, after: Fields | None) -> tuple[Fields | None, Fields | None]:
    """The two states without what is alike in both."""
    if before is None or after is None:
        return before, after
    alike = {name for name in before.keys() & after.keys() if before[name] == after[name]}
    return _without(before, alike), _without(after, alike)


def _without(fields: Fields, names: Collection[str]) -> Fields:
    return {name: value for name, value in fields.items() if name not in names}


def _state(state: State) -> Fields | None:
    if state is None:
        return None
    return request_fields(state) if isinstance(state, Message) else state
