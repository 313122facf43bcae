"""Cuts working exits at live brokers down to what is held, where a position was reduced elsewhere: none may cross zero (REAL_MONEY rule 9)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from alphapanda.domain.order import OrderStatus
from alphapanda.resilience.rounds import Rounds
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest, change_id_of
from alphapanda.trading.execution_context import ExecutionContext
from alphapanda.trading.store.port import OrderFilter
from alphapanda.trading.traders.trader import ExecutionMode

ROUND_SECONDS: Final = 3.0
MOST_ORDERS: Final = 500
"""Working orders of a broker that are looked at, the newest ones."""
BY: Final = "trading"
_WORKING: Final = (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)
_log = structlog.get_logger(__name__)

Begin = Callable[[Sequence[ChangeRequest]], None]
"""Begins to carry out changes that were just stored."""


def cut_of(order: Order, position: int) -> ChangeRequest | None:
    """The change that makes an exit no larger than its position; None where it isn't, or where it is no exit.

    Args:
        order: as it stands.
        position: units held under its key, signed.
    """
    if order.effect.is_entry or order.status not in _WORKING:
        return None
    room = max(-order.side.sign * position, 0)
    if order.leaves <= room:
        return None
    kind = ChangeKind.MODIFY if room else ChangeKind.CANCEL
    return ChangeRequest(
        change_id_of(f"cut {order.filled} {room}", order.order_id),
        order.order_id,
        kind,
        BY,
        f"{position} units are held: the position was reduced elsewhere",
        order.filled + room if room else 0,
    )


class ExitCuts:
    """Compares working exits at live brokers with their positions, at an interval and when something was booked from elsewhere.

    Args:
        context: store and traders.
        begin: begins to carry out changes.
        interval: seconds between two rounds.

    Attributes:
        rounds: runs `look` at the interval; the owner starts and stops it.
    """

    def __init__(self, context: ExecutionContext, begin: Begin, interval: float = ROUND_SECONDS) -> None:
        self._context = context
        self._begin = begin
        self.rounds = Rounds("exit cuts", self.look, interval, _log)

    async def look(self) -> None:
        """Cuts what is larger than its position."""
        for broker, trader in self._context.traders.items():
            if trader.get_execution_mode() is not ExecutionMode.LIVE:
                continue
            wanted = OrderFilter(broker, statuses=_WORKING)
            for stored in await self._context.store.newest(wanted, None, MOST_ORDERS):
                if not stored.order.effect.is_entry:
                    await self._cut(stored.order.order_id)

    async def _cut(self, order_id: str) -> None:
        async with self._context.store.transaction() as transaction:
            order = await transaction.locked(order_id)
            if order is None:
                return
            position = await transaction.position(order.key)
            change = cut_of(order, position)
            if change is None or await transaction.changes.unresolved(order_id):
                return
            await transaction.changes.add([change])
        _log.error(
            "order.cut",
            alarm=True,
            broker=order.key.broker,
            account=order.key.account,
            strategy_id=order.key.strategy_id,
            instrument_id=order.key.instrument_id,
            order_id=order_id,
            leaves=order.leaves,
            position=position,
        )
        self._begin([change])


async def nothing_to_cut() -> None:
    """Does nothing."""


Booked = Callable[[], Awaitable[None]]
"""Called when something was booked from elsewhere."""
