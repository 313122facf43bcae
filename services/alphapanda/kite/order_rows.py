"""Reads Kite's rows of orders and trades, and keeps of an order what is newest (REAL_MONEY rules 6 and 7). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from msgspec import Struct

from alphapanda.kite.session import IST

COMPLETE: Final = "COMPLETE"
_CANCELLED: Final = "CANCELLED"
_REJECTED: Final = "REJECTED"
_TRIGGER_PENDING: Final = "TRIGGER PENDING"
_PROTECTED: Final = "mktp"
"""What Kite tags a market order with once it has made a limit order of it."""


class UnreadableRow(Exception):
    """A row of Kite's can't be read; the message names the field."""


class KiteOrder(Struct, frozen=True, gc=False):
    """An order in the day's order book.

    Attributes:
        order_id: Kite's id.
        tag: the tag that it was placed with; empty where it has none.
        status: Kite's; any that isn't known is an order under way.
        message: why it was cancelled or rejected; empty where it wasn't.
        exchange: such as "NSE".
        tradingsymbol: such as "INFY".
        instrument_token: Kite's token.
        side: "BUY" or "SELL".
        product: "MIS", "CNC", "NRML", or another one.
        variety: "regular", or another one.
        order_type: as Kite shows it: a market order with protection is a LIMIT (KITE_FACTS, 5).
        validity: "DAY", "IOC" or "TTL".
        quantity: units, > 0.
        filled: units filled.
        price: limit, rupees; 0 without one.
        trigger_price: rupees; 0 without one.
        placed_by: who placed it, in Kite's words; empty where it doesn't say.
        is_converted: whether it was placed at the market, and is a limit order at the price of its market protection.
    """

    order_id: str
    tag: str
    status: str
    message: str
    exchange: str
    tradingsymbol: str
    instrument_token: int
    side: str
    product: str
    variety: str
    order_type: str
    validity: str
    quantity: int
    filled: int
    price: Decimal
    trigger_price: Decimal
    placed_by: str = ""
    is_converted: bool = False

    @property
    def completed(self) -> bool:
        """Whether all of it is filled."""
        return self.status == COMPLETE

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled; some of it may be filled."""
        return self.status.startswith(_CANCELLED)

    @property
    def rejected(self) -> bool:
        """Whether it was rejected."""
        return self.status.startswith(_REJECTED)

    @property
    def ended(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.completed or self.cancelled or self.rejected

    @property
    def trigger_pending(self) -> bool:
        """Whether it is a stop that waits for its trigger."""
        return self.status == _TRIGGER_PENDING

    @property
    def symbol(self) -> str:
        """Such as "NSE:INFY"."""
        return f"{self.exchange}:{self.tradingsymbol}"


class KiteTrade(Struct, frozen=True, gc=False):
    """A trade of an order.

    Attributes:
        trade_id: the exchange's id, which it uses again on another day.
        order_id: Kite's id of the order.
        exchange: where it was made; part of its identity.
        quantity: units, > 0.
        price: rupees, > 0.
        traded_at: aware, UTC.
    """

    trade_id: str
    order_id: str
    exchange: str
    quantity: int
    price: Decimal
    traded_at: datetime

    @property
    def day(self) -> str:
        """The day in India, YYYY-MM-DD: part of its identity."""
        return self.traded_at.astimezone(IST).date().isoformat()

    @property
    def identity(self) -> str:
        """Its identity within its day (REAL_MONEY rule 7)."""
        return f"{self.exchange}:{self.trade_id}"


def order_of(row: Mapping[str, Any]) -> KiteOrder:
    """Reads a row of /orders.

    Raises:
        UnreadableRow: a field that is needed is missing or has another form.
    """
    return KiteOrder(
        order_id=_text(row, "order_id", needed=True),
        tag=_tag(row),
        status=_text(row, "status", needed=True).strip().upper(),
        message=_text(row, "status_message") or _text(row, "status_message_raw"),
        exchange=_text(row, "exchange", needed=True),
        tradingsymbol=_text(row, "tradingsymbol", needed=True),
        instrument_token=_whole(row, "instrument_token", needed=False),
        side=_text(row, "transaction_type", needed=True),
        product=_text(row, "product", needed=True),
        variety=_text(row, "variety") or "regular",
        order_type=_text(row, "order_type"),
        validity=_text(row, "validity"),
        quantity=_whole(row, "quantity"),
        filled=_whole(row, "filled_quantity"),
        price=_rupees(row, "price"),
        trigger_price=_rupees(row, "trigger_price"),
        placed_by=_text(row, "placed_by"),
        is_converted=_PROTECTED in (row.get("tags") or ()),
    )


def trade_of(row: Mapping[str, Any]) -> KiteTrade:
    """Reads a row of /trades or /orders/{id}/trades.

    Raises:
        UnreadableRow: a field that is needed is missing or has another form.
    """
    trade = KiteTrade(
        trade_id=_text(row, "trade_id", needed=True),
        order_id=_text(row, "order_id", needed=True),
        exchange=_text(row, "exchange", needed=True),
        quantity=_whole(row, "quantity"),
        price=_rupees(row, "average_price"),
        traded_at=_moment(row, ("fill_timestamp", "exchange_timestamp")),
    )
    if trade.quantity <= 0 or trade.price <= 0:
        raise UnreadableRow(f"trade {trade.trade_id}: {trade.quantity} units at {trade.price}")
    return trade


def trades_of(rows: Iterable[Mapping[str, Any]]) -> Sequence[KiteTrade]:
    """Reads rows of trades, each trade once, oldest first.

    Raises:
        UnreadableRow: one can't be read.
    """
    found = {(one.day, one.identity): one for one in map(trade_of, rows)}
    return sorted(found.values(), key=lambda one: (one.traded_at, one.exchange, _number(one.trade_id)))


def newest_of(known: KiteOrder | None, seen: KiteOrder) -> KiteOrder:
    """The newer one of two states of an order, whatever their sequence: one that has ended, else one with more filled.

    Of two that are equal in that, `seen` counts: it was asked for later.
    """
    if known is None or (seen.ended, seen.filled) >= (known.ended, known.filled):
        return seen
    return known


def _number(trade_id: str) -> tuple[int, str]:
    return (int(trade_id), "") if trade_id.isdecimal() else (0, trade_id)


def _tag(row: Mapping[str, Any]) -> str:
    """The tag; `tags` has it first where `tag` is empty, before what Kite adds itself (mktp, autoslice)."""
    tags = row.get("tags")
    return _text(row, "tag") or (str(tags[0]) if isinstance(tags, list) and tags else "")


def _text(row: Mapping[str, Any], name: str, *, needed: bool = False) -> str:
    value = row.get(name)
    if value is None or value == "":
        if needed:
            raise UnreadableRow(f"a row without {name}")
        return ""
    return str(value)


def _whole(row: Mapping[str, Any], name: str, *, needed: bool = True) -> int:
    value = row.get(name)
    if value is None and not needed:
        return 0
    try:
        return int(str(value))
    except ValueError:
        raise UnreadableRow(f"{name} {value!r} is no whole number") from None


def _rupees(row: Mapping[str, Any], name: str) -> Decimal:
    value = row.get(name) or 0
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise UnreadableRow(f"{name} {value!r} is no amount") from None


def _moment(row: Mapping[str, Any], names: Sequence[str]) -> datetime:
    """The first time that is there; kiteconnect makes naive ones of India's."""
    for name in names:
        value = row.get(name)
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            continue
        if isinstance(moment, datetime):
            return moment.replace(tzinfo=moment.tzinfo or IST).astimezone(UTC)
    raise UnreadableRow(f"a row without {' and '.join(names)}")
