"""Auth's store: users, roles, sessions and revocations in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.auth.core.sessions import Session
from alphapanda.auth.core.users import Role, User, UserKind
from alphapanda.auth.store import statements as sql
from alphapanda.mesh.revocations import Revocation
from alphapanda.storage.engine import without_transactions
from alphapanda.storage.requests import CommandKey, RequestMemory

_LAST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class StoredRevocation:
    """A revocation with its number."""

    number: int
    revocation: Revocation


class AuthReads:
    """Reads on a connection, in a transaction or not."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def user(self, name: str) -> User | None:
        """A user by name."""
        row = (await self._connection.execute(sql.USER, {"user_name": name})).one_or_none()
        return None if row is None else _user(row)

    async def users(self, after: str, limit: int) -> list[User]:
        """Users by name, after this one."""
        rows = await self._connection.execute(sql.USERS, {"after": after, "limit": limit})
        return [_user(row) for row in rows]

    async def users_of_role(self, role: str) -> list[str]:
        """Names of the users who have a role."""
        return [*(await self._connection.execute(sql.USERS_OF_ROLE, {"role": role})).scalars()]

    async def has_person(self) -> bool:
        """Whether there is any user but service accounts."""
        return bool((await self._connection.execute(sql.ANY_PERSON)).scalar_one())

    async def number_of_users(self) -> int:
        """How many users there are."""
        return int((await self._connection.execute(sql.COUNT_USERS)).scalar_one())

    async def has_administrator(self) -> bool:
        """Whether any person who isn't disabled may manage users."""
        return bool((await self._connection.execute(sql.ADMINISTRATORS)).scalar_one())

    async def roles(self) -> list[Role]:
        """Every role, by name."""
        return [
            Role(row.role, row.description, tuple(row.permissions), row.changed_at, row.changed_by)
            for row in await self._connection.execute(sql.ROLES)
        ]

    async def session(self, session_id: str) -> Session | None:
        """A session by its id; None where the id is none."""
        try:
            wanted = UUID(session_id)
        except ValueError:
            return None
        row = (await self._connection.execute(sql.SESSION, {"session_id": wanted})).one_or_none()
        return None if row is None else _session(row)

    async def live_sessions(self, user: str, now: datetime) -> list[Session]:
        """A user's sessions that live, the newest first."""
        rows = await self._connection.execute(sql.LIVE_SESSIONS, {"user_name": user, "now": now})
        return [_session(row) for row in rows]

    async def signed_in_from(self, user: str, address: str) -> bool:
        """Whether there is a session of the user from this address."""
        found = await self._connection.execute(sql.SIGNED_IN_FROM, {"user_name": user, "address": address})
        return bool(found.scalar_one())

    async def sessions(
        self, user: str, before: int | None, limit: int, now: datetime, *, ended: bool
    ) -> list[Session]:
        """Sessions of a user, or of all where the name is empty, the newest first; `before`: a session's number."""
        values: dict[str, Any] = {"before": _LAST if before is None else before, "limit": limit}
        if user:
            values["user_name"] = user
        if not ended:
            values["now"] = now
        return [_session(row) for row in await self._connection.execute(sql.PAGES[bool(user), ended], values)]

    async def revocations(self, after: int, now: datetime, limit: int) -> list[StoredRevocation]:
        """Revocations of a higher number that still concern a token, by number."""
        rows = await self._connection.execute(sql.REVOCATIONS, {"after": after, "now": now, "limit": limit})
        return [
            StoredRevocation(
                row.number,
                Revocation(
                    "" if row.session_id is None else str(row.session_id),
                    row.user_name,
                    row.below_generation,
                    row.refreshable,
                    row.forget_at.timestamp(),
                ),
            )
            for row in rows
        ]


class AuthUnit(AuthReads):
    """One command: its reads and writes in a transaction, while no other command runs.

    Attributes:
        revoked: what it has revoked; it counts once the transaction has committed.
    """

    def __init__(self, connection: AsyncConnection, memory: RequestMemory) -> None:
        super().__init__(connection)
        self._memory = memory
        self.revoked: list[Revocation] = []

    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        """The answer that an earlier request of this id got; None where it is new.

        Raises:
            RequestReused: the request_id was used with another body.
        """
        return await self._memory.claim(self._connection, key, request)

    async def remember(self, key: CommandKey, answer: Message) -> None:
        """Keeps the answer. It has no secret: tokens are made again of their session."""
        await self._memory.remember(self._connection, key, answer)

    async def add_user(
        self, name: str, kind: UserKind, password_hash: str, roles: Sequence[str], by: str, now: datetime
    ) -> None:
        """Adds a user; there is none of this name."""
        await self._connection.execute(
            sql.ADD_USER,
            {"user_name": name, "kind": kind, "password_hash": password_hash, "now": now, "by": by},
        )
        await self._connection.execute(sql.GIVE_ROLES, {"user_name": name, "roles": list(roles)})

    async def change_user(self, user: User) -> None:
        """Stores a user's password, roles, generation and whether it is disabled."""
        await self._connection.execute(
            sql.CHANGE_USER,
            {
                "user_name": user.name,
                "password_hash": user.password_hash,
                "disabled": user.disabled,
                "generation": user.generation,
                "now": user.changed_at,
            },
        )
        await self._connection.execute(sql.TAKE_ROLES, {"user_name": user.name})
        await self._connection.execute(sql.GIVE_ROLES, {"user_name": user.name, "roles": list(user.roles)})

    async def set_role(self, role: Role) -> None:
        """Creates or changes a role."""
        await self._connection.execute(
            sql.SET_ROLE,
            {
                "role": role.name,
                "description": role.description,
                "permissions": list(role.permissions),
                "now": role.changed_at,
                "by": role.changed_by,
            },
        )

    async def add_session(self, session: Session) -> None:
        """Adds a session."""
        values = _session_values(session) | {
            "user_name": session.user_name,
            "created_at": session.created_at,
            "client": session.client,
        }
        del values["ended_at"], values["ended_because"]
        await self._connection.execute(sql.ADD_SESSION, values)

    async def change_session(self, session: Session) -> None:
        """Stores a session after a refresh, or after its end."""
        await self._connection.execute(sql.CHANGE_SESSION, _session_values(session))

    async def revoke(self, revocation: Revocation, forget_at: datetime) -> None:
        """Stores a revocation."""
        await self._connection.execute(
            sql.REVOKE,
            {
                "session_id": UUID(revocation.session_id) if revocation.session_id else None,
                "user_name": revocation.subject,
                "below_generation": revocation.below_generation,
                "refreshable": revocation.refreshable,
                "forget_at": forget_at,
            },
        )
        self.revoked.append(revocation)


class PostgresAuthStore:
    """Auth's store.

    Args:
        engine: the database.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reading = without_transactions(engine)
        self._memory = RequestMemory(sql.SCHEMA)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AuthReads]:
        """Reads, each statement by itself."""
        async with self._reading.connect() as connection:
            yield AuthReads(connection)

    @asynccontextmanager
    async def unit(self) -> AsyncIterator[AuthUnit]:
        """One command in a transaction; an error undoes it."""
        async with self._engine.begin() as connection:
            await connection.execute(sql.LOCK)
            yield AuthUnit(connection, self._memory)

    async def replace_hash(self, user: str, password_hash: str) -> None:
        """Stores the same password hashed anew."""
        async with self._reading.connect() as connection:
            await connection.execute(sql.SET_HASH, {"user_name": user, "password_hash": password_hash})


def _user(row: Row[Any]) -> User:
    return User(
        name=row.user_name,
        kind=UserKind(row.kind),
        roles=tuple(row.roles),
        disabled=row.disabled,
        generation=row.generation,
        password_hash=row.password_hash,
        created_at=row.created_at,
        created_by=row.created_by,
        changed_at=row.changed_at,
    )


def _session(row: Row[Any]) -> Session:
    return Session(
        session_id=str(row.session_id),
        user_name=row.user_name,
        created_at=row.created_at,
        refreshed_at=row.refreshed_at,
        expires_at=row.expires_at,
        rotation=row.rotation,
        request_id=row.request_id,
        address=row.address,
        client=row.client,
        ended_at=row.ended_at,
        ended_because=row.ended_because,
        number=row.number,
    )


def _session_values(session: Session) -> dict[str, Any]:
    return {
        "session_id": UUID(session.session_id),
        "refreshed_at": session.refreshed_at,
        "expires_at": session.expires_at,
        "rotation": session.rotation,
        "request_id": session.request_id,
        "address": session.address,
        "ended_at": session.ended_at,
        "ended_because": session.ended_because,
    }
