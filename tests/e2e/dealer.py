"""A third broker in one file: a dealer who trades with its clients at a price of its own and takes small orders only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

from typing_extensions import override

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.ids import derived_id
from alphapanda.domain.order_events import Fill
from alphapanda.trading.traders.registry import BrokerRegistration, TraderParts
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer, Placement, Trader

NAME = "dealer"
PRICE = Decimal("300.00")
FEE = Decimal("1.50")
MOST = 50
"""Units in one order; more of them are rejected in the dealer's own words."""
TRADED_AT = datetime(2025, 3, 10, 4, 0, tzinfo=UTC)


@dataclass
class DealersBook:
    """What the dealer itself wrote down.

    Attributes:
        calls: every placement, in order.
        orders: what became of it, by tag.
        unanswered: placements that are taken and not answered, by the number of the call, from 1.
    """

    calls: list[Placement] = field(default_factory=list)
    orders: dict[str, BrokerOrder] = field(default_factory=dict)
    unanswered: frozenset[int] = frozenset()


class Dealer(Trader):
    """Fills at once at its own price, or rejects."""

    broker = NAME
    visibility_window = 0.5

    def __init__(self, book: DealersBook, mode: ExecutionMode) -> None:
        self._book = book
        self._mode = mode
        self._numbers: Iterator[int] = count(1)

    @override
    def get_execution_mode(self) -> ExecutionMode:
        return self._mode

    @override
    async def initialize(self) -> None:
        """Nothing to do."""

    @override
    async def shutdown(self) -> None:
        """Nothing to do."""

    @override
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        number = next(self._numbers)
        self._book.calls.append(placement)
        if placement.quantity > MOST:
            order = BrokerOrder(
                f"D{number}", BrokerOrderStatus.REJECTED, message=f"we deal in {MOST} units at most"
            )
        else:
            traded_at = TRADED_AT + timedelta(seconds=number)
            fill = Fill(
                derived_id(NAME, placement.tag, "fill", 0),
                f"T{number}",
                placement.quantity,
                PRICE,
                FEE,
                traded_at,
            )
            order = BrokerOrder(f"D{number}", BrokerOrderStatus.COMPLETE, (fill,))
        self._book.orders[placement.tag] = order
        if number in self._book.unanswered:
            raise NoClearAnswer("the line to the dealer went dead")
        return order

    @override
    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        return self._book.orders.get(tag)


def registration(book: DealersBook, *, live: bool) -> BrokerRegistration:
    """The one line: the dealer as a broker, with an exchange of its own or in front of a real one."""
    mode = ExecutionMode.LIVE if live else ExecutionMode.PAPER

    def build(_: TraderParts) -> Trader:
        return Dealer(book, mode)

    return BrokerRegistration(NAME, live=live, build=build)
