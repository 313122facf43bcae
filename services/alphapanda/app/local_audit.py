"""Records commands of the command line that change something without an RPC, such as a restore, in the audit."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.mesh.request_text import plain_text
from alphapanda.storage.audit import AuditEntry, Outcome, PostgresAudit, add_entries

SERVICE = "cli"


async def record_local(
    connection: AsyncConnection,
    command: str,
    request: Mapping[str, str],
    started_at: datetime,
    before: Mapping[str, str] | None = None,
    after: Mapping[str, str] | None = None,
) -> None:
    """Stores what a command did, in its own transaction where it has one, so that neither is there without the other.

    Args:
        connection: the database that it changed.
        command: its name, such as "alphapanda restore".
        request: what it was asked for.
        started_at: when it began, aware wall time.
        before: the state before it, where that says something.
        after: the state after it.
    """
    outcome = Outcome(datetime.now(UTC), "OK", before=before, after=after)
    await add_entries(connection, [replace(_entry(command, request, started_at), outcome=outcome)])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in this container
        return "unknown"


class FirstAdminRecord:
    """Records in the audit that a start creates the first administrator: the entry before it, the outcome after it.

    Args:
        engine: the database.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._store = PostgresAudit(engine)

    async def begin(self, user_name: str) -> str:
        """Stores the entry; returns its id.

        Raises:
            SQLAlchemyError, OSError: the database can't be reached.
        """
        entry = _entry("alphapanda first admin", {"user_name": user_name}, datetime.now(UTC))
        await self._store.add([entry])
        return entry.entry_id

    async def end(self, entry_id: str, *, created: bool) -> None:
        """Stores the outcome: another process may have been first.

        Raises:
            SQLAlchemyError, OSError: the database can't be reached.
        """
        outcome = Outcome(datetime.now(UTC), "OK" if created else "ALREADY_EXISTS")
        await self._store.end({entry_id: outcome})


def _entry(command: str, request: Mapping[str, str], started_at: datetime) -> AuditEntry:
    return AuditEntry(
        entry_id=str(uuid4()),
        started_at=started_at,
        service=SERVICE,
        method=command,
        caller=f"os:{_user()}",
        peer=socket.gethostname(),
        request_id="",
        correlation_id=str(uuid4()),
        request={name: plain_text(value) for name, value in request.items()},
    )
