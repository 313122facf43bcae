"""A strategy's positions and open orders, from its order events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pydantic import JsonValue

from alphapanda.domain.money import ZERO
from alphapanda.domain.order import Side
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.routing import DEFAULT_BROKER
from alphapanda.domain.signal import PositionKey

REMEMBERED_ORDERS: Final = 64
"""Ended orders that a holding still knows, so that a repeated or late event changes nothing."""


@dataclass(frozen=True, slots=True)
class Position:
    """Signed units held, and the average price they were bought (or, short, sold) at, rupees; 0.0 where flat."""

    quantity: int = 0
    average_price: float = 0.0


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that a broker has accepted and that may still fill; `filled` of its `quantity` are."""

    order_id: str
    side: Side
    quantity: int
    filled: int

    @property
    def leaves(self) -> int:
        """Units that may still fill."""
        return self.quantity - self.filled


@dataclass(frozen=True, slots=True)
class _Known:
    """An order as of its newest event: units that moved the position already, and their value in rupees."""

    revision: int
    side: Side
    quantity: int
    filled: int
    value: Decimal


class Holding:
    """The position under one key and the orders that move it, from its order events in whatever order they come.

    Args:
        quantity: signed units held.
        average_price: rupees a unit.
    """

    __slots__ = ("_ended", "_open", "average_price", "quantity")

    def __init__(self, quantity: int = 0, average_price: Decimal = ZERO) -> None:
        self.quantity = quantity
        self.average_price = average_price
        self._open: dict[str, _Known] = {}
        self._ended: dict[str, _Known] = {}

    @property
    def position(self) -> Position:
        """What is held."""
        return Position(self.quantity, float(self.average_price))

    @property
    def open_orders(self) -> tuple[OpenOrder, ...]:
        """Orders that may still fill, the oldest first."""
        return tuple(
            OpenOrder(order_id, known.side, known.quantity, known.filled)
            for order_id, known in self._open.items()
        )

    def apply(self, order: OrderState) -> bool:
        """Applies an order's new state; False where a newer one was applied before."""
        known = self._open.get(order.order_id) or self._ended.pop(order.order_id, None)
        if known is not None and known.revision >= order.revision:
            if order.order_id not in self._open:
                self._ended[order.order_id] = known
            return False
        value = order.filled * (order.average_price or ZERO)
        moved = order.filled - (known.filled if known else 0)
        if moved > 0:
            self._fill(order.side.sign * moved, (value - (known.value if known else ZERO)) / moved)
        now = _Known(order.revision, order.side, order.quantity, order.filled, value)
        if not order.status.is_final:
            self._open[order.order_id] = now
            return True
        self._open.pop(order.order_id, None)
        self._ended[order.order_id] = now
        if len(self._ended) > REMEMBERED_ORDERS:
            del self._ended[next(iter(self._ended))]
        return True

    def state(self) -> JsonValue:
        """The whole state; exact."""
        opened, ended = _stored(self._open), _stored(self._ended)
        return [self.quantity, str(self.average_price), opened, ended]

    @classmethod
    def restored(cls, state: Any) -> Holding:
        """A holding with the state that `state` returned."""
        quantity, average_price, opened, ended = state
        holding = cls(quantity, Decimal(average_price))
        for orders, stored in ((holding._open, opened), (holding._ended, ended)):
            for name, revision, side, ordered, filled, value in stored:
                orders[name] = _Known(revision, Side(side), ordered, filled, Decimal(value))
        return holding

    def _fill(self, units: int, price: Decimal) -> None:
        held, after = self.quantity, self.quantity + units
        if held * units >= 0:
            self.average_price = (abs(held) * self.average_price + abs(units) * price) / abs(after)
        elif after == 0:
            self.average_price = ZERO
        elif held * after < 0:
            self.average_price = price
        self.quantity = after


def _stored(orders: Mapping[str, _Known]) -> list[JsonValue]:
    return [
        [name, each.revision, int(each.side), each.quantity, each.filled, str(each.value)]
        for name, each in orders.items()
    ]


Holdings = dict[PositionKey, Holding]


def state_of(holdings: Holdings) -> JsonValue:
    """The state of one strategy's holdings."""
    return [[key.broker, key.instrument_id, holding.state()] for key, holding in holdings.items()]


def restore(holdings: Holdings, state: Any) -> None:
    """Restores what `state_of` returned under the same keys."""
    restored = {(broker, instrument_id): Holding.restored(held) for broker, instrument_id, held in state}
    for key in holdings:
        holding = restored.get((key.broker, key.instrument_id))
        if holding is not None:
            holdings[key] = holding


def after(keys: Iterable[PositionKey], orders: Iterable[OrderState]) -> Holdings:
    """Holdings under these keys after these order states."""
    holdings = {key: Holding() for key in keys}
    for order in orders:
        holding = holdings.get(order.key)
        if holding is not None:
            holding.apply(order)
    return holdings


class Context:
    """A strategy's position and open orders on one instrument: `self.context` where `wants_position` is True.

    It is as of the start of the current frame: a signal is executed after the frame at the soonest, so all ticks of a frame
    see the same. A strategy may run at several brokers and has one target for all of them. `position` and `open_orders` are
    those at the leading broker: the first live one that gets its signals, paper where none does. `position_at` and
    `open_orders_at` are those at any broker.

    Args:
        holdings: by broker, in the deployment's order.
    """

    __slots__ = ("_holdings", "_leading")

    def __init__(self, holdings: Mapping[str, Holding]) -> None:
        self._holdings = holdings
        live = [broker for broker in holdings if broker != DEFAULT_BROKER]
        self._leading = next(iter([*live, *holdings]), DEFAULT_BROKER)

    @property
    def brokers(self) -> tuple[str, ...]:
        """The brokers that get its signals."""
        return tuple(self._holdings)

    @property
    def position(self) -> Position:
        """The position at the leading broker."""
        return self.position_at(self._leading)

    @property
    def open_orders(self) -> tuple[OpenOrder, ...]:
        """Open orders at the leading broker."""
        return self.open_orders_at(self._leading)

    def position_at(self, broker: str) -> Position:
        """The position at a broker; flat at one that doesn't get its signals."""
        holding = self._holdings.get(broker)
        return Position() if holding is None else holding.position

    def open_orders_at(self, broker: str) -> tuple[OpenOrder, ...]:
        """Open orders at a broker."""
        holding = self._holdings.get(broker)
        return () if holding is None else holding.open_orders
