"""A strategy's positions and open orders, computed from its order events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pydantic import JsonValue

from alphapanda.domain.money import ZERO
from alphapanda.domain.order import OrderType, Side, Validity
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.routing import DEFAULT_BROKER
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET, Terms

REMEMBERED_ORDERS: Final = 64
"""Number of ended orders that a holding remembers, so that a repeated or late event changes nothing."""


@dataclass(frozen=True, slots=True)
class Position:
    """Signed units held, and their average price in rupees; 0.0 if flat."""

    quantity: int = 0
    average_price: float = 0.0


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that a broker has accepted and that may still fill; `filled` units of `quantity` have filled.

    `order_type` is MARKET, LIMIT, SL or SL_M; its prices are rupees, None where it has none.
    """

    order_id: str
    side: Side
    quantity: int
    filled: int
    order_type: OrderType = OrderType.MARKET
    limit_price: float | None = None
    trigger_price: float | None = None

    @property
    def leaves(self) -> int:
        """Units that may still fill."""
        return self.quantity - self.filled


@dataclass(frozen=True, slots=True)
class _OrderProgress:
    """An order as of its newest event: units filled so far, and their value in rupees."""

    revision: int
    side: Side
    quantity: int
    filled: int
    value: Decimal
    terms: Terms = AT_MARKET
    protective: bool = False


class Holding:
    """The position under one key and its orders, computed from order events that may arrive in any order.

    Args:
        quantity: signed units held.
        average_price: rupees per unit.
    """

    __slots__ = ("_ended", "_open", "average_price", "quantity")

    def __init__(self, quantity: int = 0, average_price: Decimal = ZERO) -> None:
        self.quantity = quantity
        self.average_price = average_price
        self._open: dict[str, _OrderProgress] = {}
        self._ended: dict[str, _OrderProgress] = {}

    @property
    def position(self) -> Position:
        """The position."""
        return Position(self.quantity, float(self.average_price))

    @property
    def open_orders(self) -> tuple[OpenOrder, ...]:
        """The orders that may still fill, oldest first; without the stops and exits that protect the position."""
        return tuple(
            OpenOrder(
                order_id,
                known.side,
                known.quantity,
                known.filled,
                known.terms.order_type,
                None if known.terms.limit_price is None else float(known.terms.limit_price),
                None if known.terms.trigger_price is None else float(known.terms.trigger_price),
            )
            for order_id, known in self._open.items()
            if not known.protective
        )

    def apply(self, order: OrderState) -> bool:
        """Applies an order's state; False if this one, or a newer one, was applied before."""
        known = self._open.get(order.order_id) or self._ended.pop(order.order_id, None)
        if known is not None and known.revision >= order.revision:
            if order.order_id not in self._open:
                self._ended[order.order_id] = known
            return False
        value = order.filled * (order.average_price or ZERO)
        moved = order.filled - (known.filled if known else 0)
        if moved > 0:
            self._fill(order.side.sign * moved, (value - (known.value if known else ZERO)) / moved)
        now = _OrderProgress(
            order.revision, order.side, order.quantity, order.filled, value, order.terms, order.protective
        )
        if not order.status.is_final:
            self._open[order.order_id] = now
            return True
        self._open.pop(order.order_id, None)
        self._ended[order.order_id] = now
        if len(self._ended) > REMEMBERED_ORDERS:
            del self._ended[next(iter(self._ended))]
        return True

    def state(self) -> JsonValue:
        """The whole state, exact."""
        opened, ended = _stored(self._open), _stored(self._ended)
        return [self.quantity, str(self.average_price), opened, ended]

    @classmethod
    def restored(cls, state: Any) -> Holding:
        """A holding with the state that `state` returned."""
        quantity, average_price, opened, ended = state
        holding = cls(quantity, Decimal(average_price))
        for orders, stored in ((holding._open, opened), (holding._ended, ended)):
            for name, revision, side, ordered, filled, value, *terms in stored:
                orders[name] = _OrderProgress(
                    revision, Side(side), ordered, filled, Decimal(value), *_kind_of(terms)
                )
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


def _stored(orders: Mapping[str, _OrderProgress]) -> list[JsonValue]:
    return [
        [
            name,
            each.revision,
            int(each.side),
            each.quantity,
            each.filled,
            str(each.value),
            *_stored_kind(each),
        ]
        for name, each in orders.items()
    ]


def _stored_kind(order: _OrderProgress) -> list[JsonValue]:
    """An order's terms, and whether it protects; empty for one at the market for the day, as earlier versions stored it."""
    terms = order.terms
    if terms == AT_MARKET and not order.protective:
        return []
    prices = [None if price is None else str(price) for price in (terms.limit_price, terms.trigger_price)]
    return [int(terms.order_type), int(terms.validity), *prices, order.protective]


def _kind_of(stored: list[Any]) -> tuple[Terms, bool]:
    if not stored:
        return AT_MARKET, False
    order_type, validity, limit, trigger, *protective = stored
    prices = (None if each is None else Decimal(each) for each in (limit, trigger))
    return Terms(OrderType(order_type), Validity(validity), *prices), bool(protective and protective[0])


Holdings = dict[PositionKey, Holding]


def state_of(holdings: Holdings) -> JsonValue:
    """The state of one strategy's holdings."""
    return [[key.broker, key.instrument_id, holding.state()] for key, holding in holdings.items()]


def restore(holdings: Holdings, state: Any) -> None:
    """Restores the state that `state_of` returned for the same keys."""
    restored = {(broker, instrument_id): Holding.restored(held) for broker, instrument_id, held in state}
    for key in holdings:
        holding = restored.get((key.broker, key.instrument_id))
        if holding is not None:
            holdings[key] = holding


def after(keys: Iterable[PositionKey], orders: Iterable[OrderState]) -> Holdings:
    """The holdings under these keys after these order states."""
    holdings = {key: Holding() for key in keys}
    for order in orders:
        holding = holdings.get(order.key)
        if holding is not None:
            holding.apply(order)
    return holdings


class PositionNotRead(Exception):
    """A strategy reads its position although its type doesn't say that it does."""

    def __init__(self) -> None:
        super().__init__("to read its position or its orders, its class has to set wants_position = True")


class Context:
    """What a strategy may read of one instrument in its handlers: `self.context`.

    Its position and its open orders are there only if `wants_position` is True, because they are recorded as inputs.
    All ticks of a frame see the same position and orders: those at the start of the frame. A strategy may trade at several
    brokers and has one target for all of them. `position` and `open_orders` are those at the leading broker: the first
    live broker that gets its signals, or paper if there is none. `position_at` and `open_orders_at` are for any broker.

    Args:
        holdings: by broker, in the deployment's order; None if the strategy doesn't read its position.
        symbol: such as "NSE:INFY".
        lot_size: units of one lot, as of the instruments of the day on which the process started.
        tick_size: smallest price step in rupees, as of the same day.

    Attributes:
        symbol: such as "NSE:INFY".
        lot_size: units of one lot.
        tick_size: smallest price step, rupees.
    """

    __slots__ = ("_held", "_leading", "lot_size", "symbol", "tick_size")

    def __init__(
        self,
        holdings: Mapping[str, Holding] | None = None,
        *,
        symbol: str = "",
        lot_size: int = 1,
        tick_size: float = 0.05,
    ) -> None:
        self.symbol = symbol
        self.lot_size = lot_size
        self.tick_size = tick_size
        self._held = holdings
        live = [broker for broker in holdings or () if broker != DEFAULT_BROKER]
        self._leading = next(iter([*live, *(holdings or ())]), DEFAULT_BROKER)

    @property
    def _holdings(self) -> Mapping[str, Holding]:
        if self._held is None:
            raise PositionNotRead
        return self._held

    @property
    def brokers(self) -> tuple[str, ...]:
        """The brokers that get the strategy's signals."""
        return tuple(self._holdings)

    @property
    def position(self) -> Position:
        """The position at the leading broker."""
        return self.position_at(self._leading)

    @property
    def open_orders(self) -> tuple[OpenOrder, ...]:
        """The open orders at the leading broker."""
        return self.open_orders_at(self._leading)

    def position_at(self, broker: str) -> Position:
        """The position at a broker; flat if the broker doesn't get the strategy's signals."""
        holding = self._holdings.get(broker)
        return Position() if holding is None else holding.position

    def open_orders_at(self, broker: str) -> tuple[OpenOrder, ...]:
        """The open orders at a broker."""
        holding = self._holdings.get(broker)
        return () if holding is None else holding.open_orders
