"""Remembers commands by their request_id: a repeated request has one effect and one answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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


_GIVEN = "unnest(CAST(:callers AS text[]), CAST(:methods AS text[]), CAST(:request_ids AS text[])"


class RequestMemory:
    """The remembered commands of one service's schema.

    Used within the transaction of the command's effect: `claim`, and where it returns None do the effect and
    `remember` the answer.
    """

    def __init__(self, schema: str) -> None:
        # In sorted order, so that two processes with the same commands can't deadlock.
        self._insert = text(
            f"INSERT INTO {schema}.requests (caller, method, request_id, body)"
            f" SELECT caller, method, request_id, body FROM {_GIVEN}, CAST(:bodies AS bytea[]))"
            " AS given (caller, method, request_id, body) ORDER BY caller, method, request_id"
            " ON CONFLICT DO NOTHING RETURNING caller, method, request_id"
        )
        self._select = text(
            f"SELECT caller, method, request_id, body, answer FROM {schema}.requests"
            f" JOIN {_GIVEN}) AS given (caller, method, request_id) USING (caller, method, request_id)"
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
        (claimed,) = await self.claim_all(connection, [(key, request)])
        if isinstance(claimed, RequestReused):
            raise claimed
        return claimed

    async def claim_all(
        self, connection: AsyncConnection, commands: Sequence[tuple[CommandKey, Message]]
    ) -> list[bytes | RequestReused | None]:
        """Claims commands, all with one statement, and one more if some of them are not new.

        Returns:
            For each command what `claim` returns, or the error that it raises.
        """
        bodies = [sha256(one.SerializeToString(deterministic=True)).digest() for _, one in commands]
        firsts: dict[CommandKey, int] = {}
        for at, (key, _) in enumerate(commands):
            firsts.setdefault(key, at)
        new = {"bodies": [bodies[at] for at in firsts.values()], **_columns(firsts)}
        inserted = {CommandKey(*row) for row in await connection.execute(self._insert, new)}
        known = {key for at, (key, _) in enumerate(commands) if key not in inserted or firsts[key] != at}
        held: dict[CommandKey, tuple[bytes, bytes]] = {}
        if known:
            for row in await connection.execute(self._select, _columns(known)):
                key = CommandKey(row.caller, row.method, row.request_id)
                held[key] = bytes(row.body), bytes(row.answer)
        claimed: list[bytes | RequestReused | None] = []
        for at, (key, _) in enumerate(commands):
            if key in inserted and firsts[key] == at:
                claimed.append(None)
                continue
            body, answer = held[key]
            claimed.append(answer if body == bodies[at] else RequestReused(key.request_id))
        return claimed

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


def _columns(keys: Collection[CommandKey]) -> dict[str, list[str]]:
    return {
        "callers": [key.caller for key in keys],
        "methods": [key.method for key in keys],
        "request_ids": [key.request_id for key in keys],
    }
