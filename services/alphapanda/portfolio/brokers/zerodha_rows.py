"""Kite's rows of orders, trades, positions, holdings and margins as the books that a reconciliation compares. Pure.

Facts that rest on Kite's own fixtures: a holding's `opening_quantity` has what isn't settled yet (T1), and doesn't change while the
day's sales show as a negative position. Pledged shares aren't in it. See README for what only a live account can show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import Product, Side
from alphapanda.portfolio.core.reconciled_books import (
    BrokerBooks,
    BrokerMoney,
    BrokerOrder,
    BrokerShares,
    BrokerTrade,
    BrokerUnits,
)

Row = Mapping[str, Any]
_ENDED: Final = ("COMPLETE", "CANCELLED", "REJECTED")


class RowReader:
    """Reads an account's rows.

    Args:
        broker: the broker's name.
        account: our name of the account.
        directory: today's instruments.
        day: the day in India.
    """

    def __init__(self, broker: str, account: str, directory: InstrumentDirectory, day: date) -> None:
        self._broker = broker
        self._account = account
        self._directory = directory
        self._day = day

    def books(
        self,
        orders: Sequence[Row],
        trades: Sequence[Row],
        positions: Row,
        holdings: Sequence[Row],
        margins: Row,
        gtts: Sequence[Row] = (),
    ) -> BrokerBooks:
        """The books of the account."""
        held, not_compared = [], []
        for row in positions.get("net", ()):
            if not row["quantity"]:
                continue
            unit = self._position(row)
            if unit is None:
                not_compared.append(f"{_symbol(row)} {row['product']}: {row['quantity']} units")
            else:
                held.append(unit)
        for row in holdings:
            if row.get("mtf", {}).get("quantity"):
                not_compared.append(f"{_symbol(row)} MTF: {row['mtf']['quantity']} shares")
            held.append(self._holding(row))
        return BrokerBooks(
            self._day,
            [self._order(row) for row in orders],
            list(self._trades(trades)),
            [one for one in held if one.quantity],
            _money(margins),
            not_compared,
            [line for row in gtts for line in _waiting(row)],
            list(self._shares(holdings)),
        )

    def _order(self, row: Row) -> BrokerOrder:
        tags = {str(tag) for tag in (row.get("tag"), *(row.get("tags") or ())) if tag}
        status = str(row["status"])
        instrument_id, _ = self._instrument(row)
        return BrokerOrder(
            str(row["order_id"]),
            frozenset(tags),
            instrument_id,
            int(row.get("filled_quantity") or 0),
            status.startswith(_ENDED),
            status,
            _order_words(row),
        )

    def _trades(self, rows: Sequence[Row]) -> Iterator[BrokerTrade]:
        """The trades, each once: the broker may show one twice."""
        seen = set()
        for row in rows:
            exchange, trade_id = str(row["exchange"]), str(row["trade_id"])
            at = row.get("fill_timestamp") or row.get("exchange_timestamp")
            day = (at.date() if isinstance(at, datetime) else self._day).isoformat()
            name = (day, exchange, trade_id)
            if name in seen:
                continue
            seen.add(name)
            instrument_id, _ = self._instrument(row)
            yield BrokerTrade(
                str(row["order_id"]),
                self._broker,
                self._account,
                day,
                f"{exchange}:{trade_id}",
                instrument_id,
                _product(row),
                Side[str(row["transaction_type"])],
                int(row["quantity"]),
                _rupees(row["average_price"]),
            )

    def _position(self, row: Row) -> BrokerUnits | None:
        product = _product(row)
        if product is None:
            return None
        instrument_id, known = self._instrument(row)
        quantity = int(row["quantity"])
        return BrokerUnits(
            instrument_id, product, quantity, known, cost=quantity * _rupees(row["average_price"])
        )

    def _holding(self, row: Row) -> BrokerUnits:
        instrument_id, known = self._instrument(row)
        opening = row.get("opening_quantity")
        if opening is None:
            opening = row["quantity"] + row.get("t1_quantity", 0) + row.get("used_quantity", 0)
        quantity = int(opening) + int(row.get("collateral_quantity") or 0)
        return BrokerUnits(
            instrument_id,
            Product.CNC,
            quantity,
            known,
            str(row.get("isin") or ""),
            quantity * _rupees(row["average_price"]),
        )

    def _shares(self, rows: Sequence[Row]) -> Iterator[BrokerShares]:
        for row in rows:
            instrument_id, _ = self._instrument(row)
            settled, undelivered = int(row.get("quantity") or 0), int(row.get("t1_quantity") or 0)
            told = row.get("authorised_quantity")
            authorised = settled if told is None else int(told)
            yield BrokerShares(instrument_id, str(row.get("isin") or ""), settled, authorised, undelivered)

    def _instrument(self, row: Row) -> tuple[str, bool]:
        """Our id of a row's instrument, and whether it is known; of one that isn't, its symbol."""
        symbol = _symbol(row)
        found = self._directory.by_symbol(symbol)
        return (found.instrument_id, True) if found is not None else (symbol, False)


def _money(margins: Row) -> BrokerMoney | None:
    equity = margins.get("equity")
    if not equity:
        return None
    available, used = equity.get("available", {}), equity.get("utilised", {})
    return BrokerMoney(
        opening=_rupees(available.get("opening_balance", 0)),
        cash=_rupees(available.get("cash", 0)),
        paid_in=_rupees(available.get("intraday_payin", 0)),
        available=_rupees(equity.get("net", 0)),
        used=_rupees(used.get("debits", 0)),
        collateral=_rupees(available.get("collateral", 0)),
    )


def _order_words(row: Row) -> str:
    left = int(row.get("quantity") or 0) - int(row.get("filled_quantity") or 0)
    words = (
        f"{row.get('transaction_type')} {left} {_symbol(row)} {row.get('product')} {row.get('order_type')}"
    )
    prices = [
        f"{name} {row[key]}" for name, key in (("at", "price"), ("trigger", "trigger_price")) if row.get(key)
    ]
    return ", ".join([words, *prices])


def _waiting(row: Row) -> Iterator[str]:
    """The lines of a GTT: one for each of its orders, as long as it may trigger."""
    if row.get("status") != "active":
        return
    condition = row.get("condition") or {}
    triggers = list(condition.get("trigger_values") or ())
    for number, order in enumerate(row.get("orders") or ()):
        at = triggers[number] if number < len(triggers) else "?"
        yield (
            f"GTT {row.get('id')} waits at the broker: {order.get('transaction_type')} {order.get('quantity')}"
            f" {condition.get('exchange')}:{condition.get('tradingsymbol')} {order.get('product')}, trigger {at}: it may trade by itself, and is"
            " never touched"
        )


def _symbol(row: Row) -> str:
    return f"{row['exchange']}:{row['tradingsymbol']}"


def _product(row: Row) -> Product | None:
    """The product; None for one that isn't traded here, which is shown and never counted."""
    name = str(row.get("product"))
    return Product[name] if name in Product.__members__ else None


def _rupees(value: object) -> Decimal:
    """Rupees of a JSON number, with the four decimals that our books have."""
    return Decimal(str(value or 0)).quantize(Decimal("0.0001"))
