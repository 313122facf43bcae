"""The audit's table: stores entries and their outcomes, and reads pages of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.storage.audit_tables import KEPT_DAYS
from alphapanda.storage.engine import without_transactions
from alphapanda.storage.purging import Purge, oldest
from alphapanda.storage.recordset import recordset, rows_of

NO_OUTCOME: Final = "NONE"
"""What the filter calls the outcome of a command that runs still, or whose process died before it could store one."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command.

    Attributes:
        ended_at: wall time, aware.
        outcome: "OK", or the gRPC status's name.
        reason: ErrorInfo's reason; empty for OK.
        message: the error's text, without secrets; empty for OK.
        before: the state before the effect, where the service told it.
        after: the state after it.
        subjects: ids of what it was about: orders, strategies, dead letters.
    """

    ended_at: datetime
    outcome: str
    reason: str = ""
    message: str = ""
    before: Json | None = None
    after: Json | None = None
    subjects: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A command that was given: who, from where, what, and what came of it.

    Attributes:
        entry_id: a UUID, made by who stores the entry.
        started_at: wall time, aware.
        service: service that got it, such as "risk"; "cli" for a command of the command line.
        method: full name of the RPC, or "alphapanda restore".
        caller: who gave it.
        peer: from where: an address, or a terminal.
        request_id: the caller's id of the command; may be empty.
        correlation_id: a UUID; the trace's id, too.
        request: the request without secrets.
        calls: how many calls the entry stands for: a flood of refused ones is counted, not stored one by one.
        outcome: None where the command hasn't ended, or its process died.
        number: order of the entries; 0 before it is stored.
    """

    entry_id: str
    started_at: datetime
    service: str
    method: str
    caller: str
    peer: str
    request_id: str
    correlation_id: str
    request: Json = field(default_factory=dict)
    calls: int = 1
    outcome: Outcome | None = None
    number: int = 0


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Selects entries; what is empty selects all.

    Attributes:
        caller: who gave the command.
        method: full name.
        outcome: a status's name, or NO_OUTCOME.
        correlation_id: a UUID.
        since: earliest start, included.
        until: start from which on entries are left out.
    """

    caller: str = ""
    method: str = ""
    outcome: str = ""
    correlation_id: str = ""
    since: datetime | None = None
    until: datetime | None = None


_OUTCOME_COLUMNS: Final = "ended_at, outcome, reason, message, state_before, state_after, subjects"
_BEGUN_COLUMNS: Final = (
    "entry_id, started_at, service, method, caller, peer, request_id, correlation_id, request, calls"
)
_READ_COLUMNS: Final = (
    "number, entry_id, started_at, service, method, caller, peer, request_id, correlation_id, calls, ended_at, outcome, reason,"
    " message, subjects, CAST(request AS text) AS request, CAST(state_before AS text) AS state_before,"
    " CAST(state_after AS text) AS state_after"
)
_INSERT: Final = text(
    f"INSERT INTO audit.entries ({_BEGUN_COLUMNS}, {_OUTCOME_COLUMNS})"
    f" SELECT {_BEGUN_COLUMNS}, {_OUTCOME_COLUMNS} FROM {rows_of('audit.entries', 'entries')}"
    " ON CONFLICT (entry_id) DO NOTHING"
)
_END: Final = text(
    "UPDATE audit.entries AS entry SET ended_at = given.ended_at, outcome = given.outcome, reason = given.reason,"
    " message = given.message, state_before = given.state_before, state_after = given.state_after,"
    f" subjects = given.subjects FROM {rows_of('audit.entries', 'outcomes')} AS given"
    " WHERE entry.entry_id = given.entry_id AND entry.outcome IS NULL"
)

_OF_IDS: Final = text(f"SELECT {_READ_COLUMNS} FROM audit.entries WHERE entry_id = ANY(CAST(:ids AS uuid[]))")


def page_of(wanted: AuditFilter, before: tuple[datetime, int] | None, most: int) -> tuple[TextClause, Json]:
    """The statement that reads the newest entries that match, and its parameters.

    Args:
        wanted: which entries.
        before: (started_at, number) of the last entry of the page before; None for the first page.
        most: entries at most.
    """
    values: dict[str, Any] = {"most": most}
    conditions = []
    for name, value in (
        ("caller", wanted.caller),
        ("method", wanted.method),
        ("correlation_id", wanted.correlation_id),
    ):
        if value:
            conditions.append(f"{name} = :{name}")
            values[name] = value
    if wanted.outcome:
        conditions.append("outcome IS NULL" if wanted.outcome == NO_OUTCOME else "outcome = :outcome")
        values |= {} if wanted.outcome == NO_OUTCOME else {"outcome": wanted.outcome}
    for name, comparison, moment in (("since", ">=", wanted.since), ("until", "<", wanted.until)):
        if moment is not None:
            conditions.append(f"started_at {comparison} :{name}")
            values[name] = moment
    if before is not None:
        conditions.append("(started_at, number) < (:last_started_at, :last_number)")
        values |= {"last_started_at": before[0], "last_number": before[1]}
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = text(
        f"SELECT {_READ_COLUMNS} FROM audit.entries{where} ORDER BY started_at DESC, number DESC LIMIT :most"
    )
    return statement, values


class PostgresAudit:
    """The audit's table in PostgreSQL; each call is one statement.

    Args:
        engine: the database.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = without_transactions(engine)

    async def add(self, entries: Sequence[AuditEntry]) -> Sequence[None]:
        """Stores entries, with their outcome where they have one; nothing for each, so that it is a group's work.

        Raises:
            SQLAlchemyError, OSError: the database can't be reached.
        """
        async with self._engine.connect() as connection:
            await add_entries(connection, entries)
        return [None] * len(entries)

    async def end(self, outcomes: Mapping[str, Outcome]) -> None:
        """Stores the outcomes of entries, by entry_id; an outcome that is stored already stays.

        Raises:
            SQLAlchemyError, OSError: the database can't be reached.
        """
        rows = [{"entry_id": entry_id, **_outcome_row(one)} for entry_id, one in outcomes.items()]
        async with self._engine.connect() as connection:
            await connection.execute(_END, {"outcomes": recordset(rows)})

    async def of_ids(self, entry_ids: Sequence[str]) -> list[AuditEntry]:
        """Reads entries by their ids."""
        async with self._engine.connect() as connection:
            return [_entry(row) for row in await connection.execute(_OF_IDS, {"ids": list(entry_ids)})]

    async def page(
        self, wanted: AuditFilter, before: tuple[datetime, int] | None, most: int
    ) -> list[AuditEntry]:
        """Reads the newest entries that match, before the last entry of the page before."""
        statement, values = page_of(wanted, before, most)
        async with self._engine.connect() as connection:
            return [_entry(row) for row in await connection.execute(statement, values)]


async def add_entries(connection: AsyncConnection, entries: Sequence[AuditEntry]) -> None:
    """Stores entries, in the caller's transaction if there is one."""
    rows = [
        {
            "entry_id": one.entry_id,
            "started_at": one.started_at,
            "service": one.service,
            "method": one.method,
            "caller": one.caller,
            "peer": one.peer,
            "request_id": one.request_id,
            "correlation_id": one.correlation_id,
            "request": one.request,
            "calls": one.calls,
            **_outcome_row(one.outcome),
        }
        for one in entries
    ]
    await connection.execute(_INSERT, {"entries": recordset(rows)})


def audit_purge(keep: timedelta) -> Purge:
    """Entries of the audit that are old enough; the database refuses to delete those of the last KEPT_DAYS."""
    old = f"started_at < now() - interval '{KEPT_DAYS} days'"
    return Purge("audit.entries", oldest("audit.entries", "started_at", old), keep)


def _outcome_row(outcome: Outcome | None) -> dict[str, object]:
    if outcome is None:
        return {"reason": "", "message": "", "subjects": []}
    return {
        "ended_at": outcome.ended_at,
        "outcome": outcome.outcome,
        "reason": outcome.reason,
        "message": outcome.message,
        "state_before": outcome.before,
        "state_after": outcome.after,
        "subjects": list(outcome.subjects),
    }


def _entry(row: Row[Any]) -> AuditEntry:
    ended = None
    if row.outcome is not None:
        ended = Outcome(
            row.ended_at,
            row.outcome,
            row.reason,
            row.message,
            _parsed(row.state_before),
            _parsed(row.state_after),
            tuple(row.subjects),
        )
    return AuditEntry(
        str(row.entry_id),
        row.started_at,
        row.service,
        row.method,
        row.caller,
        row.peer,
        row.request_id,
        str(row.correlation_id),
        json.loads(row.request),
        row.calls,
        ended,
        row.number,
    )


def _parsed(value: str | None) -> Json | None:
    return None if value is None else json.loads(value)
