"""What a strategy holds and has on its way, as far as it was told of its orders."""

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
"""Ended orders that a holding still knows, so that an event told twice, or late, moves nothing."""


@dataclass(frozen=True, slots=True)
class Position:
    """What is held: signed units, and the average price they were bought (or, short, sold) at, rupees; 0.0 where flat."""

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
    """An order as of its newest event: what moved the position already, and at what value in rupees."""

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
        """Takes an order as it stood after a change; False where that is old news."""
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
        """All of it; exact."""
        opened, ended = _stored(self._open), _stored(self._ended)
        return [self.quantity, str(self.average_price), opened, ended]

    @classmethod
    def restored(cls, state: Any) -> Holding:
        """What `state` was given of."""
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
    """Holdings of one strategy, product and account."""
    return [[key.broker, key.instrument_id, holding.state()] for key, holding in holdings.items()]


def take_up(holdings: Holdings, state: Any) -> None:
    """Puts what `state_of` gave in the place of what is held under the same keys."""
    restored = {(broker, instrument_id): Holding.restored(held) for broker, instrument_id, held in state}
    for key in holdings:
        holding = restored.get((key.broker, key.instrument_id))
        if holding is not None:
            holdings[key] = holding


def after(keys: Iterable[PositionKey], orders: Iterable[OrderState]) -> Holdings:
    """What is held under these keys after the orders' changes."""
    holdings = {key: Holding() for key in keys}
    for order in orders:
        holding = holdings.get(order.key)
        if holding is not None:
            holding.apply(order)
    return holdings


class Context:
    """What a strategy may read of its own trading on one instrument: `self.context` where `wants_position` is True.

    It stands as it stood when the frame in hand was taken up: a signal of a tick is executed after the frame at the
    soonest, so two ticks of a frame see the same. A strategy may run at several brokers and says one thing to all of
    them. `position` and `open_orders` are those at the broker that leads: the first live one that gets its signals,
    paper where none does. `position_at` and `open_orders_at` tell of each.

    Args:
        holdings: by broker, in the deployment's order.
    """

    __slots__ = ("_holdings", "_leads")

    def __init__(self, holdings: Mapping[str, Holding]) -> None:
        self._holdings = holdings
        live = [broker for broker in holdings if broker != DEFAULT_BROKER]
        self._leads = next(iter([*live, *holdings]), DEFAULT_BROKER)

    @property
    def brokers(self) -> tuple[str, ...]:
        """The brokers that get its signals."""
        return tuple(self._holdings)

    @property
    def position(self) -> Position:
        """What it holds at the broker that leads."""
        return self.position_at(self._leads)

    @property
    def open_orders(self) -> tuple[OpenOrder, ...]:
        """Its orders on their way at the broker that leads."""
        return self.open_orders_at(self._leads)

    def position_at(self, broker: str) -> Position:
        """What it holds at a broker; flat at one that doesn't get its signals."""
        holding = self._holdings.get(broker)
        return Position() if holding is None else holding.position

    def open_orders_at(self, broker: str) -> tuple[OpenOrder, ...]:
        """Its orders on their way at a broker."""
        holding = self._holdings.get(broker)
        return () if holding is None else holding.open_orders
