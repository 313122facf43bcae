"""The columns of an order's terms and protection, as several schemas have them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import CheckConstraint, Column, SmallInteger, literal_column

from alphapanda.domain.order import OrderType, Validity
from alphapanda.domain.terms import AT_MARKET, Protection, Terms
from alphapanda.storage.tables import EXACT, column

_MARKET: Final = int(OrderType.MARKET)
_DAY: Final = int(Validity.DAY)


def prices_of_order() -> tuple[Column[Any], ...]:
    """The columns that say, beside `order_type`, how an order is priced and how long it works; rupees."""
    return (
        column("validity", SmallInteger, server_default=literal_column(str(_DAY))),
        Column("limit_price", EXACT, CheckConstraint("limit_price > 0")),
        Column("trigger_price", EXACT, CheckConstraint("trigger_price > 0")),
    )


def terms_of_order() -> tuple[Column[Any], ...]:
    """The columns that say, beside `order_type`, how an order is priced, how long it works and how it is protected; rupees."""
    return (
        *prices_of_order(),
        Column("stop_loss", EXACT, CheckConstraint("stop_loss > 0")),
        Column("target", EXACT, CheckConstraint("target > 0")),
        Column("trail", EXACT, CheckConstraint("trail > 0")),
    )


NO_TERMS: Final = {"order_type": None, "validity": _DAY, "limit_price": None, "trigger_price": None}
"""The columns where there is no order."""
NO_PROTECTION: Final = {"stop_loss": None, "target": None, "trail": None}
"""The columns of an order without protection."""
_AT_MARKET: Final = {"order_type": _MARKET, "validity": _DAY, "limit_price": None, "trigger_price": None}


def terms_columns(terms: Terms) -> dict[str, Any]:
    """The columns of an order's terms, `order_type` among them."""
    if terms is AT_MARKET:
        return _AT_MARKET
    return {
        "order_type": int(terms.order_type),
        "validity": int(terms.validity),
        "limit_price": terms.limit_price,
        "trigger_price": terms.trigger_price,
    }


def protection_columns(protection: Protection | None) -> dict[str, Any]:
    """The columns of an order's protection."""
    if protection is None:
        return NO_PROTECTION
    return {"stop_loss": protection.stop_loss, "target": protection.target, "trail": protection.trail}


def terms_of(row: Any) -> Terms:
    """The terms of a row."""
    if row.order_type == _MARKET and row.validity == _DAY:
        return AT_MARKET
    return Terms(OrderType(row.order_type), Validity(row.validity), row.limit_price, row.trigger_price)


def protection_of(row: Any) -> Protection | None:
    """The protection of a row; None where it has none."""
    found = row.stop_loss, row.target, row.trail
    return None if found == (None, None, None) else Protection(*found)
