"""What an account holds at Zerodha of one instrument in one product, from its rows of positions and holdings. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from alphapanda.kite.order_rows import KiteOrder, UnreadableRow

DELIVERY: Final = "CNC"
Row = Mapping[str, Any]


def net_units(
    positions: Row, holdings: Iterable[Row], exchange: str, tradingsymbol: str, product: str
) -> int:
    """Units held, signed: the net position, and for delivery the shares of the demat account with it.

    Today's sales of such shares show as a negative position, and the holding as it was in the morning (REAL_MONEY rule 17).

    Args:
        positions: the answer of /portfolio/positions.
        holdings: the rows of /portfolio/holdings; used for delivery only.
        exchange: of the instrument; shares are the same ones at every exchange.
        tradingsymbol: of the instrument.
        product: Kite's name of the product.

    Raises:
        UnreadableRow: a row of the instrument has no quantity.
    """
    shares = product == DELIVERY
    units = 0
    for row in positions.get("net") or ():
        same = (row.get("tradingsymbol"), row.get("product")) == (tradingsymbol, product)
        if same and (shares or row.get("exchange") == exchange):
            units += _units(row, "quantity")
    if shares:
        for row in holdings:
            if row.get("tradingsymbol") == tradingsymbol:
                opening = row.get("opening_quantity")
                units += (
                    _units(row, "quantity") + _units(row, "t1_quantity", 0)
                    if opening is None
                    else _units(row, "opening_quantity")
                )
    return units


def working_units(book: Iterable[KiteOrder], symbol: str, side: str, product: str) -> int:
    """Units that orders of one symbol ("NSE:INFY"), side and product may still trade."""
    return sum(
        order.quantity - order.filled
        for order in book
        if not order.ended and (order.symbol, order.side, order.product) == (symbol, side, product)
    )


def unseen_units(beside: Mapping[str, int], book: Iterable[KiteOrder]) -> int:
    """Units, by tag, of those orders that a book doesn't show; what it shows counts by what it shows of it."""
    shown = {order.tag for order in book}
    return sum(units for tag, units in beside.items() if tag not in shown)


def traded_unseen(trades: Iterable[Row], shown: Collection[str], symbol: str, side: str, product: str) -> int:
    """Units of the trades whose orders a book doesn't show, of one symbol, side and product.

    Args:
        trades: the rows of /trades.
        shown: ids of the orders that the book shows.
        symbol: of the instrument, as "NSE:INFY".
        side: Kite's name of the side.
        product: Kite's name of the product.

    Raises:
        UnreadableRow: a row has no quantity.
    """
    wanted = (*symbol.split(":", 1), side, product)
    names = ("exchange", "tradingsymbol", "transaction_type", "product")
    return sum(
        _units(row, "quantity")
        for row in trades
        if str(row.get("order_id")) not in shown and tuple(row.get(name) for name in names) == wanted
    )


def _units(row: Row, name: str, otherwise: int | None = None) -> int:
    value = row.get(name, otherwise)
    if not isinstance(value, int):
        raise UnreadableRow(f"{name} {value!r} of {row.get('tradingsymbol')} is no whole number")
    return value
