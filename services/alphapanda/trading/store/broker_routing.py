"""The switches by which persons route orders to brokers or not, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from google.protobuf.message import Message
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.storage.requests import CommandKey, RequestMemory

SCHEMA: Final = "trading"
SWITCHES = text("SELECT broker, switched_on, changed_by, reason, changed_at FROM trading.broker_routing")
SET_SWITCH = text(
    "INSERT INTO trading.broker_routing (broker, switched_on, changed_by, reason, changed_at)"
    " VALUES (:broker, :switched_on, :changed_by, :reason, :changed_at)"
    " ON CONFLICT (broker) DO UPDATE SET switched_on = excluded.switched_on, changed_by = excluded.changed_by,"
    " reason = excluded.reason, changed_at = excluded.changed_at"
)


class RoutingSwitch(NamedTuple):
    """Whether a person has a broker's orders routed, and who said so, why and when (wall time)."""

    broker: str
    switched_on: bool
    changed_by: str
    reason: str
    changed_at: datetime


class RoutingSwitches:
    """The switches that were ever set.

    Args:
        engine: the database.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._requests = RequestMemory(SCHEMA)

    async def all(self) -> Mapping[str, RoutingSwitch]:
        """The switches by broker."""
        async with self._engine.connect() as connection:
            return {row.broker: RoutingSwitch(*row) for row in await connection.execute(SWITCHES)}

    async def set(
        self, key: CommandKey, request: Message, switch: RoutingSwitch, answer: Callable[[], Message]
    ) -> bytes:
        """Carries out a command once: stores switch and answer in one transaction.

        Returns:
            The answer, serialised; for a repeated command the stored one.

        Raises:
            RequestReused: its request_id came with another body.
        """
        async with self._engine.begin() as connection:
            given = await self._requests.claim(connection, key, request)
            if given is not None:
                return given
            await connection.execute(SET_SWITCH, switch._asdict())
            message = answer()
            await self._requests.remember(connection, key, message)
            return message.SerializeToString(deterministic=True)
