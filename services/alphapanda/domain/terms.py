"""The terms of an order: type, validity, limit and trigger price; and the protection that a position may have."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from msgspec import Struct

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import OrderType, Side, Validity
from alphapanda.domain.price_grid import GridRule

_MARKET: Final = OrderType.MARKET
_DAY: Final = Validity.DAY


class Terms(Struct, frozen=True, gc=False):
    """How an order is priced, and how long it works.

    Attributes:
        order_type: MARKET, LIMIT, SL (a limit order from its trigger on) or SL_M (a market order from its trigger on).
        validity: DAY (to the end of the trading day) or IOC (what doesn't fill at once is cancelled).
        limit_price: rupees, of LIMIT and SL; else None.
        trigger_price: rupees, of SL and SL_M; else None.
    """

    order_type: OrderType = OrderType.MARKET
    validity: Validity = Validity.DAY
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None

    @property
    def rests(self) -> bool:
        """Whether an order with these terms may wait at the exchange for a price."""
        return self.order_type is not _MARKET and self.validity is _DAY


AT_MARKET: Final = Terms()
"""At the market's price, for the day."""


class Protection(Struct, frozen=True, gc=False):
    """Exits that stand by while a position is held; the first that happens cancels the other. None: there is no such exit.

    Attributes:
        stop_loss: price in rupees at which the loss is stopped.
        target: price in rupees at which the profit is taken.
        trail: distance in rupees by which the stop follows the best price since the entry; None: it stays.
    """

    stop_loss: Decimal | None = None
    target: Decimal | None = None
    trail: Decimal | None = None

    def __bool__(self) -> bool:
        """Whether there is any exit."""
        return self.stop_loss is not None or self.target is not None


HAS_LIMIT: Final = frozenset({OrderType.LIMIT, OrderType.SL})
HAS_TRIGGER: Final = frozenset({OrderType.SL, OrderType.SL_M})


def check_terms(terms: Terms, side: Side, grid: GridRule | None = None) -> None:
    """Checks that an order has the prices that its type needs, and no others.

    Args:
        terms: the order's terms.
        side: its direction.
        grid: the instrument's price grid on the day; None: prices off the grid aren't found.

    Raises:
        InvalidInput: names the field, its value and what is allowed.
    """
    name = terms.order_type.name
    _price("limit_price", terms.limit_price, grid, name, wanted=terms.order_type in HAS_LIMIT)
    _price("trigger_price", terms.trigger_price, grid, name, wanted=terms.order_type in HAS_TRIGGER)
    limit, trigger = terms.limit_price, terms.trigger_price
    if limit is None or trigger is None or limit == trigger or (limit > trigger) == (side is Side.BUY):
        return
    than = "at least" if side is Side.BUY else "at most"
    raise InvalidInput(
        "limit_price",
        f"{limit:f}",
        f"{than} trigger_price {trigger:f} for an SL order that {side.name.lower()}s",
    )


def check_protection(
    protection: Protection, side: Side, price: Decimal | None, grid: GridRule | None = None
) -> None:
    """Checks the protection of an entry.

    Args:
        protection: what was asked for.
        side: direction of the entry.
        price: the entry's limit or the last price, rupees; None: unknown, and the sides of it aren't checked.
        grid: the instrument's price grid on the day; None: prices off the grid aren't found.

    Raises:
        InvalidInput: names the field, its value and what is allowed.
    """
    stop, target, trail = protection.stop_loss, protection.target, protection.trail
    if trail is not None:
        if trail <= 0:
            raise InvalidInput("protection.trail", f"{trail:f}", "a distance in rupees greater than 0")
        if stop is None:
            raise InvalidInput(
                "protection.trail", f"{trail:f}", "none without protection.stop_loss, which it moves"
            )
    buys = side is Side.BUY
    for field, value, below in (("stop_loss", stop, buys), ("target", target, not buys)):
        if value is None:
            continue
        _price(f"protection.{field}", value, grid, "", wanted=True)
        if price is not None and (value >= price if below else value <= price):
            than = "below" if below else "above"
            raise InvalidInput(
                f"protection.{field}",
                f"{value:f}",
                f"{than} {price:f}, the price of an entry that {side.name.lower()}s",
            )
    if stop is not None and target is not None and (target <= stop if buys else target >= stop):
        than = "above" if buys else "below"
        raise InvalidInput("protection.target", f"{target:f}", f"{than} protection.stop_loss {stop:f}")


def _price(
    field: str, value: Decimal | None, grid: GridRule | None, order_type: str, *, wanted: bool
) -> None:
    if not wanted:
        if value is not None:
            raise InvalidInput(field, f"{value:f}", f"none for a {order_type} order")
        return
    if value is None:
        raise InvalidInput(field, "", f"a price in rupees greater than 0: {order_type} needs it")
    if value <= 0:
        raise InvalidInput(field, f"{value:f}", "a price in rupees greater than 0")
    if grid is None:
        return
    below, above = grid.against(value, buys=False), grid.against(value, buys=True)
    if value not in (below, above):
        raise InvalidInput(
            field, f"{value:f}", f"a price of the instrument's grid, such as {below:f} or {above:f}"
        )
