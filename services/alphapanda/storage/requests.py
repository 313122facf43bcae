"""Remembers commands by their request_id: a repeated request has one effect and one answer."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from google.protobuf.message import Message
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class RequestReused(Exception):
    """A request_id was used again with another body."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        super().__init__(
            f"request_id {request_id!r} was used for another request; use a new one for a new command"
        )


@dataclass(frozen=True, slots=True)
class CommandKey:
    """Identifies a command: caller, method, request_id."""

    caller: str
    method: str
    request_id: str


class RequestMemory:
    """The remembered commands of one service's schema.

    Used within the transaction of the command's effect: `claim`, and where it returns None do the effect and
    `remember` the answer.
    """

    def __init__(self, schema: str) -> None:
        self._insert = text(
            f"INSERT INTO {schema}.requests (caller, method, request_id, body)"
            " VALUES (:caller, :method, :request_id, :body) ON CONFLICT DO NOTHING"
        )
        self._select = text(
            f"SELECT body, answer FROM {schema}.requests"
            " WHERE caller = :caller AND method = :method AND request_id = :request_id"
        )
        self._update = text(
            f"UPDATE {schema}.requests SET answer = :answer"
            " WHERE caller = :caller AND method = :method AND request_id = :request_id"
        )

    async def claim(self, connection: AsyncConnection, key: CommandKey, request: Message) -> bytes | None:
        """Claims a command. Returns its earlier answer (serialised), or None where the command is new.

        It waits for another transaction that has the same command. An answer of b"" means claimed but not yet remembered: the
        caller then builds the answer from the stored state.

        Raises:
            RequestReused: the request_id was used with another body.
        """
        identity = {"caller": key.caller, "method": key.method, "request_id": key.request_id}
        body = sha256(request.SerializeToString(deterministic=True)).digest()
        inserted = await connection.execute(self._insert, identity | {"body": body})
        if inserted.rowcount:
            return None
        row = (await connection.execute(self._select, identity)).one()
        if bytes(row.body) != body:
            raise RequestReused(key.request_id)
        return bytes(row.answer)

    async def remember(self, connection: AsyncConnection, key: CommandKey, answer: Message) -> None:
        """Stores the answer, in the transaction of the effect."""
        await connection.execute(
            self._update,
            {
                "caller": key.caller,
                "method": key.method,
                "request_id": key.request_id,
                "answer": answer.SerializeToString(deterministic=True),
            },
        )
