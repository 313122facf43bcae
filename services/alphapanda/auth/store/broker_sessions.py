"""The store of sessions at brokers: accounts with their revision, and sessions, in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.auth.core.broker_session import BrokerAccount, BrokerSession, SessionState
from alphapanda.auth.store import broker_statements as sql
from alphapanda.auth.store.statements import SCHEMA
from alphapanda.storage.engine import without_transactions
from alphapanda.storage.requests import CommandKey, RequestMemory

_LAST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """What is kept of an account: its revision, and whose it is at the broker (empty before the first login)."""

    revision: int = 0
    broker_user_id: str = ""


class BrokerReads:
    """Reads on a connection, in a transaction or not."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def newest(self, owner: BrokerAccount) -> BrokerSession:
        """An account's newest session; one of the state NONE where there is none."""
        found = await self._connection.execute(sql.NEWEST, {"broker": owner.broker, "account": owner.account})
        row = found.one_or_none()
        return BrokerSession(owner) if row is None else _session(row)

    async def of_login(self, login_id: str) -> BrokerSession | None:
        """The session that a login has begun."""
        row = (await self._connection.execute(sql.BY_LOGIN, {"login_id": UUID(login_id)})).one_or_none()
        return None if row is None else _session(row)

    async def of_id(self, session_id: str) -> BrokerSession | None:
        """A session by its id."""
        row = (await self._connection.execute(sql.BY_ID, {"session_id": UUID(session_id)})).one_or_none()
        return None if row is None else _session(row)

    async def over(self, now: datetime) -> list[BrokerSession]:
        """Sessions that are over and not ended yet."""
        return [_session(row) for row in await self._connection.execute(sql.OVER, {"now": now})]

    async def sessions(
        self, broker: str, account: str, before: int | None, limit: int
    ) -> list[BrokerSession]:
        """Sessions, the newest first; empty names mean all; `before`: a session's number."""
        values = {"before": _LAST if before is None else before, "limit": limit}
        rows = await self._connection.execute(sql.PAGE, {**values, "broker": broker, "account": account})
        return [_session(row) for row in rows]

    async def revisions(self) -> Mapping[BrokerAccount, int]:
        """The revision of each account."""
        rows = await self._connection.execute(sql.REVISIONS)
        return {BrokerAccount(row.broker, row.account): int(row.revision) for row in rows}

    async def account(self, owner: BrokerAccount) -> StoredAccount:
        """What is kept of an account."""
        found = await self._connection.execute(
            sql.ACCOUNT, {"broker": owner.broker, "account": owner.account}
        )
        row = found.one_or_none()
        return StoredAccount() if row is None else StoredAccount(int(row.revision), row.broker_user_id)


class BrokerUnit(BrokerReads):
    """One change: its reads and writes in a transaction, while no other change runs."""

    def __init__(self, connection: AsyncConnection, memory: RequestMemory) -> None:
        super().__init__(connection)
        self._memory = memory

    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        """The answer that an earlier request of this id got; None where it is new.

        Raises:
            RequestReused: the request_id was used with another body.
        """
        return await self._memory.claim(self._connection, key, request)

    async def remember(self, key: CommandKey, answer: Message) -> None:
        """Keeps the answer; it has no token."""
        await self._memory.remember(self._connection, key, answer)

    async def add(self, session: BrokerSession) -> None:
        """Adds a session, and raises its account's revision to the session's."""
        await self._raise(session)
        await self._connection.execute(
            sql.ADD,
            {
                **_owner(session.owner),
                "session_id": UUID(session.session_id),
                "revision": session.revision,
                "state": session.state,
                "login_id": UUID(session.login_id),
                "broker_user_id": session.broker_user_id,
                "sealed_token": session.sealed_token,
                "opened_at": session.opened_at,
                "opened_by": session.opened_by,
                "valid_until": session.valid_until,
            },
        )

    async def end(self, session: BrokerSession) -> None:
        """Stores a session after its end, and raises its account's revision to the session's."""
        await self._raise(session)
        await self._connection.execute(
            sql.END,
            {
                "session_id": UUID(session.session_id),
                "revision": session.revision,
                "state": session.state,
                "ended_at": session.ended_at,
                "ended_because": session.ended_because,
            },
        )

    async def _raise(self, session: BrokerSession) -> None:
        await self._connection.execute(
            sql.SET_ACCOUNT,
            {
                **_owner(session.owner),
                "revision": session.revision,
                "broker_user_id": session.broker_user_id,
            },
        )


class PostgresBrokerSessionStore:
    """The store.

    Args:
        engine: the database.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reading = without_transactions(engine)
        self._memory = RequestMemory(SCHEMA)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[BrokerReads]:
        """Reads, each statement by itself."""
        async with self._reading.connect() as connection:
            yield BrokerReads(connection)

    @asynccontextmanager
    async def unit(self) -> AsyncIterator[BrokerUnit]:
        """One change in a transaction; an error undoes it."""
        async with self._engine.begin() as connection:
            await connection.execute(sql.LOCK)
            yield BrokerUnit(connection, self._memory)


def _owner(owner: BrokerAccount) -> dict[str, str]:
    return {"broker": owner.broker, "account": owner.account}


def _session(row: Row[Any]) -> BrokerSession:
    return BrokerSession(
        owner=BrokerAccount(row.broker, row.account),
        state=SessionState(row.state),
        revision=int(row.revision),
        session_id=str(row.session_id),
        login_id=str(row.login_id),
        broker_user_id=row.broker_user_id,
        sealed_token=bytes(row.sealed_token),
        opened_at=row.opened_at,
        opened_by=row.opened_by,
        valid_until=row.valid_until,
        ended_at=row.ended_at,
        ended_because=row.ended_because,
        number=int(row.number),
    )
