"""Reads an order's parameters, and refuses what the broker's own checks refuse: such orders never reach the book."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from tests.kite_exchange.errors import KiteError, bad_input, require_text
from tests.kite_exchange.listed import Listed
from tests.kite_exchange.market import Market, Quote
from tests.kite_exchange.orders import Order

NO_PROTECTION: Final = (
    "Market orders without market protection are not allowed via API."
    " Please set market protection or use a Limit order."
)
AUTOMATIC_PROTECTION: Final = Decimal(2)
MOST_SLICES: Final = 10
_TAG: Final = 20
_LARGEST_PROTECTION: Final = 100
_ICEBERG_LEGS: Final = range(2, 51)
_CHOICES: Final = {
    "transaction_type": ("BUY", "SELL"),
    "order_type": ("MARKET", "LIMIT", "SL", "SL-M"),
    "product": ("CNC", "NRML", "MIS", "MTF"),
    "validity": ("DAY", "IOC", "TTL"),
}
VARIETIES: Final = ("regular", "amo", "iceberg")
CASH: Final = ("NSE", "BSE")


def read_order(
    form: Mapping[str, str],
    variety: str,
    market: Market,
    *,
    order_id: str,
    user_id: str,
    api_key: str,
    at_ns: int,
) -> Order:
    """An order from its parameters, checked.

    Raises:
        KiteError: 400: a parameter can't be used, or the broker's checks refuse the order.
    """
    if variety not in VARIETIES:
        raise bad_input(f"Invalid `variety` {variety!r}")
    chosen = {name: _choice(form, name) for name in _CHOICES}
    quote = market.by_key(f"{form.get('exchange', '')}:{form.get('tradingsymbol', '')}")
    if quote is None or quote.listed.index:
        raise bad_input("The instrument you are placing an order for has either expired or does not exist.")
    order = Order(
        order_id=order_id,
        user_id=user_id,
        api_key=api_key,
        listed=quote.listed,
        variety=variety,
        side=chosen["transaction_type"],
        order_type=chosen["order_type"],
        product=chosen["product"],
        validity=chosen["validity"],
        quantity=_whole(form, "quantity"),
        price=_rupees(form, "price"),
        trigger_price=_rupees(form, "trigger_price"),
        disclosed_quantity=_whole(form, "disclosed_quantity", "0"),
        protection=_protection(form),
        tag=_tag(form),
        validity_ttl=_whole(form, "validity_ttl", "0"),
        placed_ns=at_ns,
    )
    if order.tag:
        order.tags.append(order.tag)
    if variety == "iceberg":
        _make_iceberg(order, _whole(form, "iceberg_legs", "0"), _whole(form, "iceberg_quantity", "0"))
    check(order, quote)
    return order


def check(order: Order, quote: Quote) -> None:
    """Refuses what the broker's checks refuse before the exchange sees it.

    Raises:
        KiteError: 400 InputException, in Kite's words where they are known.
    """
    _check_kind(order)
    _check_quantity(order)
    for price in (order.price, order.trigger_price):
        if price * quote.listed.divisor % quote.listed.tick:
            raise bad_input("Order price is not a multiple of tick size")
    if order.order_type in {"LIMIT", "SL"}:
        low, high = quote.circuit
        if not low <= order.price <= high:
            raise bad_input(
                "Price exceeds circuit limits for the instrument. Place an order within the daily range."
            )
    if order.order_type in {"SL", "SL-M"}:
        _check_trigger(order, quote)


def _check_kind(order: Order) -> None:
    listed = order.listed
    cash = listed.exchange in CASH
    if order.order_type in {"MARKET", "SL-M"} and not order.protection:
        raise bad_input(NO_PROTECTION)
    if (order.product in {"CNC", "MTF"}) != cash and order.product != "MIS":
        raise bad_input(f"Invalid product {order.product} for {listed.exchange}.")
    if order.order_type == "SL-M" and (listed.exchange == "BSE" or listed.instrument_type in {"CE", "PE"}):
        raise bad_input("SL-M orders are blocked for this segment. Please use SL orders.")
    if order.validity == "IOC" and listed.exchange == "MCX":
        raise bad_input("IOC orders are not allowed for this segment.")
    if order.validity == "TTL" and not order.validity_ttl:
        raise bad_input("Missing or empty field `validity_ttl`")


def _check_quantity(order: Order) -> None:
    listed, quantity = order.listed, order.quantity
    if quantity <= 0:
        raise bad_input("Quantity should be greater than zero.")
    if quantity % listed.lot_size:
        raise bad_input(f"Quantity should be in multiples of lot size {listed.lot_size}.")
    most = listed.freeze_quantity // listed.lot_size * listed.lot_size
    if quantity > most:
        raise bad_input(
            f"The order quantity {quantity} ({quantity // listed.lot_size} lots) is higher than the maximum quantity of"
            f" {most} ({most // listed.lot_size} lots) allowed by the exchanges."
        )


def _check_trigger(order: Order, quote: Quote) -> None:
    if not order.trigger_price:
        raise bad_input("Missing or empty field `trigger_price`")
    last = quote.rupees
    if order.sign * (order.trigger_price - last) <= 0:
        word = "higher" if order.side == "BUY" else "lower"
        raise bad_input(
            f"Trigger price for stoploss {order.side.lower()} orders should be {word} than the last traded price ({last})."
        )
    if order.order_type == "SL" and order.sign * (order.price - order.trigger_price) < 0:
        word = "lower" if order.side == "BUY" else "higher"
        raise bad_input(
            f"Trigger price cannot be {'higher' if word == 'lower' else 'lower'} than the limit price."
        )


def change(order: Order, form: Mapping[str, str]) -> None:
    """Takes a modification's parameters over; what is missing stays, but protection, which each request says anew.

    Raises:
        KiteError: 400: one can't be read.
    """
    order.order_type = form.get("order_type") or order.order_type
    order.validity = form.get("validity") or order.validity
    order.quantity = _whole(form, "quantity", str(order.quantity))
    order.price = _rupees(form, "price") or order.price
    order.trigger_price = _rupees(form, "trigger_price") or order.trigger_price
    order.protection = _protection(form)


def slices(quantity: int, listed: Listed) -> list[int]:
    """The quantities of an order that is sliced at the freeze quantity.

    Raises:
        KiteError: 400: it need not be sliced, or makes too many slices.
    """
    most = listed.freeze_quantity // listed.lot_size * listed.lot_size
    if quantity <= most:
        raise bad_input(
            f"Quantity should be greater than or equal to {most + listed.lot_size} for order slicing."
        )
    made = [most] * (quantity // most) + ([quantity % most] if quantity % most else [])
    if len(made) > MOST_SLICES:
        raise bad_input(f"Order cannot be sliced in more than {MOST_SLICES} orders.")
    return made


def protected_price(order: Order, quote: Quote) -> Decimal:
    """The limit price of a market order with protection: so far from the last price, and within the circuit."""
    low, high = quote.circuit
    wanted = quote.rupees * (1 + order.sign * order.protection / 100)
    return quote.price(quote.units(min(max(wanted, low), high)))


def _make_iceberg(order: Order, legs: int, leg_quantity: int) -> None:
    if legs not in _ICEBERG_LEGS:
        raise bad_input(f"Iceberg legs should be from {_ICEBERG_LEGS.start} to {_ICEBERG_LEGS.stop - 1}.")
    if leg_quantity <= 0 or -(-order.quantity // leg_quantity) != legs:
        raise bad_input("Iceberg quantity and legs don't make the order's quantity.")
    order.legs = [leg_quantity] * (order.quantity // leg_quantity - 1)
    if order.quantity % leg_quantity:
        order.legs.append(order.quantity % leg_quantity)
    order.quantity = leg_quantity


def _choice(form: Mapping[str, str], name: str) -> str:
    allowed = _CHOICES[name]
    given = form.get(name) or ("DAY" if name == "validity" else "")
    require_text(given, name)
    if given not in allowed:
        raise bad_input(f"Invalid `{name}`")
    return given


def _whole(form: Mapping[str, str], name: str, otherwise: str = "") -> int:
    text = form.get(name) or otherwise
    require_text(text, name)
    try:
        return int(text)
    except ValueError:
        raise _undecodable(name, text, "integer") from None


def _rupees(form: Mapping[str, str], name: str) -> Decimal:
    text = form.get(name) or "0"
    try:
        return Decimal(text)
    except InvalidOperation:
        raise _undecodable(name, text, "decimal") from None


def _protection(form: Mapping[str, str]) -> Decimal:
    given = _rupees(form, "market_protection")
    if given == -1:
        return AUTOMATIC_PROTECTION
    if not 0 <= given <= _LARGEST_PROTECTION:
        raise bad_input("Invalid market_protection. It should be -1 or between 0 and 100.")
    return given


def _tag(form: Mapping[str, str]) -> str | None:
    tag = form.get("tag") or None
    if tag is not None and len(tag) > _TAG:
        raise bad_input(f"`tag` should not be longer than {_TAG} characters.")
    return tag


def _undecodable(name: str, text: str, wanted: str) -> KiteError:
    return bad_input(f"Invalid request (failed to decode {name}, got: {text} (expected {wanted}))")
