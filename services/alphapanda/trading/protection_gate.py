"""What the drivers of orders ask about protections; `protections.Protections` answers it."""

from __future__ import annotations

from typing import Protocol

from typing_extensions import override

from alphapanda.domain.signal import PositionKey
from alphapanda.trading.core.order import Order


class ProtectionGate(Protocol):
    """Holds exits of protected positions back until they may pass, and is told when a position's orders have changed."""

    async def reload(self) -> None:
        """Reads which positions are protected, before orders are driven.

        Raises:
            asyncio's and the database's errors where the rows can't be read; call it again.
        """

    def expect(self, order: Order) -> None:
        """Notes that an order carries a protection, before it is stored."""

    def concerns(self, key: PositionKey) -> bool:
        """Whether a position has a protection, or had one a moment ago."""

    def holds(self, order: Order) -> bool:
        """Whether an order has to ask before it is sent."""

    async def may_go(self, order: Order) -> Order | None:
        """The order as it may be sent, or as it has ended; None: it has to wait."""

    async def nudge(self, key: PositionKey) -> None:
        """Steps the position's protections, because its orders have changed."""

    async def at_rest(self, key: PositionKey) -> None:
        """Returns once the position's protections aren't being stepped, or after a moment."""


class NothingProtected(ProtectionGate):
    """The gate where there are no protections."""

    @override
    async def reload(self) -> None:
        """Does nothing."""

    @override
    def expect(self, order: Order) -> None:
        """Does nothing."""

    @override
    def concerns(self, key: PositionKey) -> bool:
        """Never."""
        return False

    @override
    def holds(self, order: Order) -> bool:
        """Never."""
        return False

    @override
    async def may_go(self, order: Order) -> Order | None:
        """The order as it is."""
        return order

    @override
    async def nudge(self, key: PositionKey) -> None:
        """Does nothing."""

    @override
    async def at_rest(self, key: PositionKey) -> None:
        """At once."""
