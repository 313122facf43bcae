"""A broker in memory at which orders rest until a test fills them, and whose answers get lost where a test says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from msgspec.structs import replace
from trading_room import NOON, VISIBILITY_WINDOW

from alphapanda.domain import ids
from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.order_events import Fill
from alphapanda.trading.traders.trader import (
    BrokerRefused,
    Cancellation,
    Changed,
    ExecutionMode,
    Modification,
    NoClearAnswer,
    Placement,
    Trader,
)

OPEN, COMPLETE = BrokerOrderStatus.OPEN, BrokerOrderStatus.COMPLETE


class RestingBroker(Trader):
    """The broker and its trader; it outlives a room.

    Attributes:
        orders: its orders by tag.
        calls: calls by (method, tag).
        lost: methods whose next calls are carried out and not answered, how many of each.
        dropped: methods whose next calls are neither carried out nor answered.
        last: the price of fills, rupees.
        before: called with the tag before a cancellation or modification is carried out.
    """

    broker = "paper"
    visibility_window = VISIBILITY_WINDOW

    def __init__(self) -> None:
        self.orders: dict[str, BrokerOrder] = {}
        self.calls: Counter[tuple[str, str]] = Counter()
        self.lost: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.before: Callable[[str], object] = lambda _: None
        self._changed: Changed = lambda *_: None
        self._trades = 0
        self.last = Decimal(100)

    def __call__(self, _: Any) -> RestingBroker:
        """The trader for a room."""
        return self

    def get_execution_mode(self) -> ExecutionMode:
        return ExecutionMode.PAPER

    @property
    def tells_of_fills(self) -> bool:
        return True

    def follow(self, changed: Changed) -> None:
        self._changed = changed

    async def initialize(self) -> None:
        """Does nothing."""

    async def shutdown(self) -> None:
        """Does nothing."""

    def fill(self, tag: str, units: int) -> None:
        """Fills units of an order, without a word."""
        self._trades += 1
        order = self.orders[tag]
        fill = Fill(
            ids.derived_id("trade", self._trades), str(self._trades), units, self.last, Decimal(0), NOON
        )
        fills = (*order.fills, fill)
        filled = sum(one.quantity for one in fills)
        status = COMPLETE if filled == order.quantity else OPEN
        self.orders[tag] = replace(order, fills=fills, status=status)

    def tell(self, tag: str) -> None:
        """Tells that an order may have changed."""
        self._changed("default", tag)

    def called(self, method: str) -> int:
        """How often a method was called."""
        return sum(count for (name, _), count in self.calls.items() if name == method)

    async def execute_order(self, placement: Placement) -> BrokerOrder:
        number = f"B{len(self.orders) + 1}"
        order = BrokerOrder(number, OPEN, (), "", placement.quantity, placement.terms)
        return self._carried_out("place", placement.tag, order)

    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        self.calls["look_up", tag] += 1
        return self.orders.get(tag)

    async def modify_order(self, modification: Modification) -> BrokerOrder:
        tag = modification.tag
        self.before(tag)
        held = self._working("modify", tag)
        changed = replace(held, quantity=modification.quantity, terms=modification.terms)
        return self._carried_out("modify", tag, changed)

    async def cancel_order(self, cancellation: Cancellation) -> BrokerOrder:
        tag = cancellation.tag
        self.before(tag)
        held = self._working("cancel", tag)
        return self._carried_out("cancel", tag, replace(held, status=BrokerOrderStatus.CANCELLED))

    def _working(self, method: str, tag: str) -> BrokerOrder:
        held = self.orders[tag]
        if held.status is not OPEN:
            self.calls[method, tag] += 1
            raise BrokerRefused(f"order {held.broker_order_id} is {held.status.value}")
        return held

    def _carried_out(self, method: str, tag: str, order: BrokerOrder) -> BrokerOrder:
        self.calls[method, tag] += 1
        if self._next(self.dropped, method):
            raise NoClearAnswer("lost on its way")
        self.orders[tag] = order
        if self._next(self.lost, method):
            raise NoClearAnswer("the answer was lost")
        return order

    @staticmethod
    def _next(planned: Counter[str], method: str) -> bool:
        if not planned[method]:
            return False
        planned[method] -= 1
        return True
