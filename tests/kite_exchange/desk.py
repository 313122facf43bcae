"""The order desk: takes orders, matches them at the market's prices, and tells what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Any, Final

from tests.kite_exchange.account import Account
from tests.kite_exchange.clock import SECOND_NS, Clock
from tests.kite_exchange.errors import KiteError, bad_input
from tests.kite_exchange.faults import Fault
from tests.kite_exchange.limits import MODIFICATIONS, Limits
from tests.kite_exchange.market import Market, Quote
from tests.kite_exchange.order_form import change, check, protected_price, read_order, slices
from tests.kite_exchange.orders import (
    AMO,
    CANCELLED,
    COMPLETE,
    OPEN,
    OPENING,
    RECEIVED,
    REJECTED,
    TRIGGER,
    UPDATE,
    VALIDATING,
    Order,
    Trade,
)

_FIRST_ORDER: Final = 1_990_000_000_000_000_000
_FIRST_AT_EXCHANGE: Final = 1_300_000_000_000_000
_FIRST_TRADE: Final = 10_000_000
STOP_LOST: Final = "The order was cancelled by the exchange because the price is outside the current allowed limit price protection range."
DAY_OVER: Final = "The order was cancelled at the end of the day."
SELF_TRADE: Final = "The order was cancelled by the exchange to prevent a trade with your own order."
Told = Callable[[Order, str], None]


@dataclass(slots=True)
class Desk:
    """The orders of all users.

    Attributes:
        clock: the exchange's time.
        market: the prices at which orders trade.
        limits: the day's count of orders.
        accounts: by user.
        told: is told of each order update: the order and the update's status.
        orders: by id, in the order in which they came.
        trades: in the order in which they were made.
        slow_seconds: how long each order waits before it is worked on.
    """

    clock: Clock
    market: Market
    limits: Limits
    accounts: dict[str, Account] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    slow_seconds: float = 0
    _ids: Iterator[int] = field(default_factory=lambda: count(_FIRST_ORDER))
    _exchange_ids: Iterator[int] = field(default_factory=lambda: count(_FIRST_AT_EXCHANGE))
    _trade_ids: Iterator[int] = field(default_factory=lambda: count(_FIRST_TRADE))

    def account(self, user_id: str) -> Account:
        """The books of a user, who begins with a million rupees."""
        return self.accounts.setdefault(user_id, Account(user_id))

    def book(self, user_id: str) -> list[Order]:
        """A user's orders of the day, those that show, the first one first."""
        now = self.clock.ns()
        return [o for o in self.orders.values() if o.user_id == user_id and o.hidden_until_ns <= now]

    def order(self, user_id: str, order_id: str) -> Order:
        """A user's order.

        Raises:
            KiteError: 400: there is none, or it doesn't show yet.
        """
        found = self.orders.get(order_id)
        if found is None or found.user_id != user_id or found.hidden_until_ns > self.clock.ns():
            raise bad_input("Couldn't find that `order_id`.")
        return found

    def place(
        self,
        user_id: str,
        variety: str,
        form: Mapping[str, str],
        *,
        api_key: str = "",
        fault: Fault | None = None,
    ) -> Order:
        """Takes an order, and works on it unless the fault says that it waits.

        Raises:
            KiteError: the broker's checks refuse it: it never shows in the book.
        """
        return self._take(self._read(user_id, variety, form, api_key), fault)

    def _read(self, user_id: str, variety: str, form: Mapping[str, str], api_key: str) -> Order:
        return read_order(
            form, variety, self.market, order_id=str(next(self._ids)), user_id=user_id, api_key=api_key,
            at_ns=self.clock.ns(),
        )  # fmt: skip

    def _take(self, order: Order, fault: Fault | None = None) -> Order:
        if order.legs and order.parent_order_id is None:
            self.limits.count_orders(order.user_id, len(order.legs))
        self._require_funds(order)
        self._befall(order, fault)
        self.orders[order.order_id] = order
        order.step(RECEIVED, order.placed_ns)
        if order.variety == "amo":
            order.step(AMO, order.placed_ns)
        elif order.stuck_until_ns <= self.clock.ns():
            self._work_on(order, fault)
        return order

    def place_sliced(
        self, user_id: str, variety: str, form: Mapping[str, str], *, api_key: str
    ) -> dict[str, Any]:
        """Takes an order above the freeze quantity as several; returns the first one's id and what became of the others.

        Raises:
            KiteError: it need not be sliced, or the first slice is refused.
        """
        listed = self.market.listing.by_key.get(f"{form.get('exchange')}:{form.get('tradingsymbol')}")
        if listed is None:
            raise bad_input(
                "The instrument you are placing an order for has either expired or does not exist."
            )
        quantities = slices(int(form.get("quantity", "0")), listed)
        parent = self._read(user_id, variety, {**form, "quantity": str(quantities[0])}, api_key)
        parent.tags.append("autoslice")
        self._take(parent)
        children: list[dict[str, Any]] = []
        for quantity in quantities[1:]:
            child = self._read(user_id, variety, {**form, "quantity": str(quantity)}, api_key)
            child.tags += ["autoslice", f"autoslice:{parent.order_id}"]
            try:
                children.append({"order_id": self._take(child).order_id})
            except KiteError as error:
                told = {
                    "code": error.status,
                    "error_type": error.error_type,
                    "message": error.message,
                    "data": None,
                }
                children.append({"error": told})
        return {"order_id": parent.order_id, "children": children}

    def modify(self, user_id: str, order_id: str, form: Mapping[str, str]) -> Order:
        """Changes an open order; its quantity is the new total.

        Raises:
            KiteError: 400: it isn't open, was changed too often, or what it would be is refused.
        """
        order = self.order(user_id, order_id)
        if order.status not in {OPEN, TRIGGER, AMO}:
            raise KiteError(
                400, "OrderException", "Order cannot be modified as it is being processed or has ended."
            )
        if order.modifications >= MODIFICATIONS:
            raise bad_input("Maximum allowed order modifications exceeded.")
        before = (
            order.order_type,
            order.quantity,
            order.price,
            order.trigger_price,
            order.validity,
            order.protection,
        )
        try:
            change(order, form)
            check(order, self._quote(order))
            if order.quantity <= order.filled:
                raise bad_input("Quantity should be greater than the filled quantity.")
        except KiteError:
            (
                order.order_type,
                order.quantity,
                order.price,
                order.trigger_price,
                order.validity,
                order.protection,
            ) = before
            raise
        order.modifications += 1
        now = self.clock.ns()
        waits = order.status == TRIGGER and order.order_type in {"SL", "SL-M"}
        for status in ("MODIFY VALIDATION PENDING", "MODIFY PENDING", "MODIFIED"):
            order.step(status, now)
        order.step(TRIGGER if waits else OPEN, now)
        self._tell(order, UPDATE)
        if not waits:
            self._enter(order)
        return order

    def cancel(self, user_id: str, order_id: str) -> Order:
        """Cancels an open order.

        Raises:
            KiteError: 400: it isn't open.
        """
        order = self.order(user_id, order_id)
        if order.status not in {OPEN, TRIGGER, AMO, RECEIVED}:
            raise KiteError(
                400, "OrderException", "Order cannot be cancelled as it is being processed or has ended."
            )
        order.step("CANCEL PENDING", self.clock.ns())
        self._cancel(order, "Cancelled by user")
        return order

    def on_prices(self, tokens: set[int]) -> None:
        """Prices have changed: triggers and trades what rests."""
        for order in list(self.orders.values()):
            if order.listed.instrument_token in tokens:
                self._match(order)

    def beat(self) -> None:
        """What time brings: orders that waited go on, others run out."""
        now = self.clock.ns()
        for order in list(self.orders.values()):
            if order.status == RECEIVED and 0 < order.stuck_until_ns <= now:
                self._work_on(order, None)
            if order.status in {OPEN, TRIGGER} and order.ends_ns is not None and order.ends_ns <= now:
                self._cancel(order, "Validity expired")

    def square_off(self, user_id: str) -> list[Order]:
        """The broker's risk desk cancels intraday orders and closes intraday positions; nobody is sent an update."""
        for order in self.orders.values():
            if order.user_id == user_id and order.product == "MIS" and order.status in {OPEN, TRIGGER}:
                order.quiet = True
                self._cancel(order, "RMS: intraday square-off")
        made = []
        for position in list(self.account(user_id).positions.values()):
            if position.product == "MIS" and position.quantity:
                form = {
                    "exchange": position.listed.exchange, "tradingsymbol": position.listed.tradingsymbol, "product": "MIS",
                    "transaction_type": "SELL" if position.quantity > 0 else "BUY", "order_type": "MARKET",
                    "quantity": str(abs(position.quantity)), "market_protection": "100",
                }  # fmt: skip
                made.append(self.place(user_id, "regular", form, fault=Fault("quiet")))
        return made

    def number_on(self) -> None:
        """Numbers what comes after what is there."""
        orders = self.orders.values()
        self._ids = count(max((int(one.order_id) + 1 for one in orders), default=_FIRST_ORDER))
        at_exchange = (int(one.exchange_order_id) + 1 for one in orders if one.exchange_order_id)
        self._exchange_ids = count(max(at_exchange, default=_FIRST_AT_EXCHANGE))
        self._trade_ids = count(max((int(one.trade_id) + 1 for one in self.trades), default=_FIRST_TRADE))

    def close_day(self) -> None:
        """The session is over: what still waits is cancelled."""
        for order in list(self.orders.values()):
            if order.status in {OPEN, TRIGGER}:
                self._cancel(order, DAY_OVER)

    def list_day(self) -> None:
        """A new day: the order book begins anew, and accounts roll."""
        self.orders.clear()
        self.trades.clear()
        for account in self.accounts.values():
            account.roll(self.market)

    def _quote(self, order: Order) -> Quote:
        quote = self.market.quote(order.listed.instrument_token)
        assert quote is not None
        return quote

    def _require_funds(self, order: Order) -> None:
        account = self.account(order.user_id)
        if order.product == "CNC" and order.side == "SELL":
            held = account.holdings.get(order.listed.tradingsymbol)
            if held is not None and held.unauthorised:
                raise KiteError(
                    428, "HoldingException", f"{order.quantity} quantity needs authorisation at depository."
                )
            if order.quantity > account.sellable(order.listed):
                raise KiteError(400, "HoldingException", "Insufficient holdings.")
            return
        price = order.price or self._quote(order).rupees
        needed = account.required(order, price)
        available = account.available(o for o in self.orders.values() if o.user_id == order.user_id)
        if needed and needed > available:
            raise KiteError(
                400,
                "MarginException",
                f"Insufficient funds. Required margin is {needed:.2f} but available margin is {available:.2f}.",
            )

    def _befall(self, order: Order, fault: Fault | None) -> None:
        if self.slow_seconds:
            order.stuck_until_ns = order.placed_ns + int(self.slow_seconds * SECOND_NS)
        if fault is None:
            return
        until = order.placed_ns + int(fault.seconds * SECOND_NS)
        order.at_each_price = fault.quantity if fault.kind == "partial" else None
        order.stop_lost = fault.kind == "stop_lost"
        order.quiet = fault.kind == "quiet"
        hidden = fault.seconds if fault.kind == "hidden" else fault.hidden
        order.hidden_until_ns = order.placed_ns + int(hidden * SECOND_NS) if hidden else 0
        order.stuck_until_ns = until if fault.kind == "stuck" else order.stuck_until_ns

    def _work_on(self, order: Order, fault: Fault | None) -> None:
        now = self.clock.ns()
        order.stuck_until_ns = 0
        order.step(VALIDATING, now)
        if fault is not None and fault.kind == "rejected":
            order.step(REJECTED, now, fault.message)
            self._tell(order, REJECTED)
            return
        order.step(OPENING, now)
        order.exchange_order_id = str(next(self._exchange_ids))
        if order.order_type == "MARKET":
            self._protect(order)
        order.step(TRIGGER if order.order_type in {"SL", "SL-M"} else OPEN, now)
        self._enter(order)

    def _protect(self, order: Order) -> None:
        """A market order with protection becomes a limit order, and is tagged so."""
        order.price = protected_price(order, self._quote(order))
        order.order_type = "LIMIT"
        order.tags += ["mktp", f"mktp:{order.protection:.2f}"]

    def _enter(self, order: Order) -> None:
        """An order reaches the exchange: it trades if it can, and what it crosses of its owner's own is cancelled."""
        if order.status == OPEN:
            for other in list(self.orders.values()):
                if _crosses(order, other, self._quote(order).rupees):
                    self._cancel(other, SELF_TRADE)
        self._match(order)
        order.arriving = False
        if order.status == OPEN and order.validity == "IOC":
            self._cancel(order, "Immediate or cancel")

    def _match(self, order: Order) -> None:
        quote = self._quote(order)
        if order.status == TRIGGER and order.sign * (quote.rupees - order.trigger_price) >= 0:
            self._trigger(order)
        if order.status != OPEN or order.sign * (order.price - quote.rupees) < 0:
            return
        possible = [limit for limit in (quote.liquidity, order.at_each_price) if limit is not None]
        quantity = min([order.left, *possible])
        if quantity > 0:
            if quote.liquidity is not None:
                quote.liquidity -= quantity
            self._fill(order, quantity, quote.rupees if order.arriving else order.price)

    def _trigger(self, order: Order) -> None:
        if order.stop_lost:
            self._cancel(order, STOP_LOST)
            return
        if order.order_type == "SL-M":
            self._protect(order)
        order.arriving = True
        order.step(OPEN, self.clock.ns())

    def _fill(self, order: Order, quantity: int, price: Decimal) -> None:
        now = self.clock.ns()
        trade = Trade(str(next(self._trade_ids)), order, quantity, price, now)
        order.filled += quantity
        order.value += quantity * price
        self.account(order.user_id).book(trade)
        self.trades.append(trade)
        done = order.filled == order.quantity
        order.step(COMPLETE if done else OPEN, now)
        self._tell(order, COMPLETE if done else UPDATE)
        if done and order.legs:
            self._next_leg(order)

    def _next_leg(self, order: Order) -> None:
        form = {
            "exchange": order.listed.exchange, "tradingsymbol": order.listed.tradingsymbol, "product": order.product,
            "transaction_type": order.side, "order_type": "LIMIT", "price": str(order.price),
            "quantity": str(order.legs[0]), "tag": order.tag or "",
        }  # fmt: skip
        leg = self._read(order.user_id, "regular", form, order.api_key)
        leg.parent_order_id = order.parent_order_id or order.order_id
        leg.variety, leg.legs = "iceberg", order.legs[1:]
        self._take(leg)

    def _cancel(self, order: Order, why: str) -> None:
        order.cancelled = order.quantity - order.filled
        order.step(CANCELLED, self.clock.ns(), why)
        self._tell(order, CANCELLED)

    def _tell(self, order: Order, status: str) -> None:
        if not order.quiet:
            for told in self.told:
                told(order, status)


def _crosses(order: Order, other: Order, last: Decimal) -> bool:
    """Whether an arriving order may trade with one of its owner's own: a market order at the last price, others at their limit."""
    reaches = last if order.protection else order.price
    return (
        other is not order
        and other.user_id == order.user_id
        and other.status == OPEN
        and other.listed == order.listed
        and other.sign == -order.sign
        and order.sign * (reaches - other.price) >= 0
    )
