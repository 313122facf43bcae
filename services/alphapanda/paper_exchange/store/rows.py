"""The paper exchange's rows: orders, trades and the journal of calls.

Its own schema, connections and transactions. Each call is one statement.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.domain.broker_books import BrokerBooks, Holding
from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.charges import charges_from_text, charges_text
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.money import PAISA
from alphapanda.domain.order import Product, Side
from alphapanda.domain.order_events import Fill
from alphapanda.domain.terms import Terms
from alphapanda.paper_exchange.core.held_order import HeldOrder
from alphapanda.paper_exchange.core.matching import Tradable
from alphapanda.paper_exchange.core.paper_charges import PaperOrder
from alphapanda.paper_exchange.store.tables import HELD
from alphapanda.storage.engine import without_transactions
from alphapanda.storage.order_terms import terms_columns, terms_of
from alphapanda.storage.purging import Purge, oldest

# Each call is one statement and so one transaction: the journal line is stored together with the call's effect.
_PLACED: Final = (
    "placed AS (INSERT INTO paper_exchange.orders (broker, account, tag, instrument_id, instrument_token, side, quantity,"
    " product, order_type, validity, limit_price, trigger_price, status, message, market_time, came_at, expires_at,"
    " volume, strategy_id, slice)"
    " VALUES (:broker, :account, :tag, :instrument_id, :instrument_token, :side, :quantity,"
    " :product, :order_type, :validity, :limit_price, :trigger_price, :status, :message, :market_time, :came_at, :expires_at,"
    " :volume, :strategy_id, :slice)"
    " RETURNING broker_order_id),"
    " called AS (INSERT INTO paper_exchange.calls (broker, account, what, tag, broker_order_id, quantity, market_time,"
    " limit_price, trigger_price) SELECT :broker, :account, 'place', :tag, broker_order_id::text, :quantity, :market_time,"
    " :limit_price, :trigger_price FROM placed)"
)
_TRADED: Final = (
    "traded AS (INSERT INTO paper_exchange.trades (exchange_trade_id, broker_order_id, fill_id, quantity, price,"
    " commission, traded_at, charges, market_price, model)"
    " SELECT :exchange_trade_id, broker_order_id, :fill_id, :traded, :price,"
    " :commission, :traded_at, :charges, :market_price, :model FROM placed)"
)
_PLACE: Final = text(f"WITH {_PLACED} SELECT broker_order_id FROM placed")
_PLACE_AND_FILL: Final = text(f"WITH {_PLACED}, {_TRADED} SELECT broker_order_id FROM placed")
# Whoever changes an order that waits has to have seen it as it is: another process may have changed it.
_CHANGED: Final = (
    "placed AS (UPDATE paper_exchange.orders SET status = :status, message = :message, quantity = :quantity,"
    " limit_price = :limit_price, trigger_price = :trigger_price, triggered = :triggered, came_at = :came_at,"
    " volume = :volume, revision = revision + 1"
    f" WHERE broker_order_id = :broker_order_id AND revision = :revision AND {HELD} RETURNING broker_order_id)"
)
_CALLED: Final = (
    "called AS (INSERT INTO paper_exchange.calls (broker, account, what, tag, broker_order_id, quantity, market_time,"
    " limit_price, trigger_price) SELECT :broker, :account, :what, :tag, broker_order_id::text, :quantity,"
    " CAST(:market_time AS timestamptz), :limit_price, :trigger_price FROM placed)"
)
_CHANGE: Final = text(f"WITH {_CHANGED} SELECT broker_order_id FROM placed")
_CHANGE_AND_FILL: Final = text(f"WITH {_CHANGED}, {_TRADED} SELECT broker_order_id FROM placed")
_CHANGE_BY_CALL: Final = text(f"WITH {_CHANGED}, {_CALLED} SELECT broker_order_id FROM placed")
_CHANGE_BY_CALL_AND_FILL: Final = text(
    f"WITH {_CHANGED}, {_CALLED}, {_TRADED} SELECT broker_order_id FROM placed"
)
_HELD_ORDERS: Final = text(
    "SELECT broker_order_id, broker, account, tag, instrument_id, instrument_token, product, side, o.quantity, order_type,"
    " validity, limit_price, trigger_price, triggered, revision, volume, came_at, expires_at, strategy_id, slice,"
    " coalesce(t.filled, 0)::bigint AS filled, coalesce(t.turnover, 0) AS turnover"
    " FROM paper_exchange.orders o LEFT JOIN LATERAL (SELECT sum(quantity) AS filled, sum(quantity * price) AS turnover"
    " FROM paper_exchange.trades WHERE broker_order_id = o.broker_order_id) t ON true"
    f" WHERE {HELD} ORDER BY broker_order_id"
)
_TRADE_NUMBERS: Final = text(
    "SELECT nextval('paper_exchange.trade_numbers') AS number FROM generate_series(1, :count)"
)
_LOOKED_UP: Final = (
    "SELECT o.broker_order_id, o.status, o.message, o.quantity AS ordered, o.order_type, o.validity, o.limit_price,"
    " o.trigger_price, o.triggered, t.fill_id, t.exchange_trade_id, t.quantity, t.price,"
    " t.commission, t.traded_at, t.charges FROM paper_exchange.orders o LEFT JOIN paper_exchange.trades t USING (broker_order_id)"
    " WHERE o.broker = :broker AND o.account = :account AND o.tag = :tag"
    " ORDER BY o.broker_order_id, t.exchange_trade_id"
)
_LOOK_UP: Final = text(
    "WITH called AS (INSERT INTO paper_exchange.calls (broker, account, what, tag)"
    f" VALUES (:broker, :account, 'orders_by_tag', :tag)) {_LOOKED_UP}"
)
_SHOW: Final = text(_LOOKED_UP)
_NEWEST_ORDERS: Final = text(
    "SELECT o.tag, coalesce(sum(t.quantity), 0)::bigint AS filled FROM (SELECT broker_order_id, tag"
    " FROM paper_exchange.orders WHERE broker = :broker ORDER BY broker_order_id DESC LIMIT 500) AS o"
    " LEFT JOIN paper_exchange.trades t USING (broker_order_id) GROUP BY o.tag"
)
_BOOKS: Final = text(
    "SELECT o.account, o.instrument_id, o.product,"
    " sum(CASE o.side WHEN :buy THEN t.quantity ELSE -t.quantity END)::bigint AS held,"
    " sum(CASE o.side WHEN :buy THEN -t.quantity ELSE t.quantity END * t.price - t.commission) AS cash"
    " FROM paper_exchange.orders o JOIN paper_exchange.trades t USING (broker_order_id) WHERE o.broker = :broker"
    " GROUP BY o.account, o.instrument_id, o.product"
)


_NUMBERS_AT_ONCE: Final = 64
# By whether a call has changed the order, and whether something of it fills.
_CHANGES: Final[Mapping[tuple[bool, bool], TextClause]] = {
    (False, False): _CHANGE,
    (False, True): _CHANGE_AND_FILL,
    (True, False): _CHANGE_BY_CALL,
    (True, True): _CHANGE_BY_CALL_AND_FILL,
}


class PaperRows:
    """The rows of the paper exchange.

    Args:
        engine: its own connections.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = without_transactions(engine)
        self._trade_numbers: deque[int] = deque()

    async def place(
        self,
        columns: Mapping[str, Any],
        fill: Callable[[str], Fill] | None = None,
        found: Tradable | None = None,
        model: str = "",
    ) -> tuple[str, tuple[Fill, ...]]:
        """Stores an order that has come, its trade and the call.

        Args:
            columns: of the order, `placed_columns` and the times.
            fill: makes its fill of a trade number; None: nothing fills.
            found: the price at which it fills.
            model: how that price was found, for people.

        Returns:
            Its number, and its fills.
        """
        async with self._engine.connect() as connection:
            fills: tuple[Fill, ...] = ()
            if fill is not None and found is not None:
                fills = (fill(await self._trade_number(connection)),)
                columns = {**columns, **_trade_columns(fills[0], found, model)}
            statement = _PLACE_AND_FILL if fills else _PLACE
            return str((await connection.execute(statement, columns)).scalar_one()), fills

    async def change(
        self,
        held: HeldOrder,
        status: BrokerOrderStatus,
        message: str,
        call: str = "",
        market_time: datetime | None = None,
        fill: Callable[[str], Fill] | None = None,
        found: Tradable | None = None,
        model: str = "",
    ) -> bool:
        """Stores a held order as it is from now on; False if another process has changed it meanwhile.

        Args:
            held: the order, as it was read but for what changes.
            status: its status from now on.
            message: why it ends.
            call: the call that changes it, for the journal; empty: the market does.
            market_time: of the call.
            fill: makes its fill of a trade number; None: nothing fills.
            found: the price at which it fills.
            model: how that price was found, for people.
        """
        columns = _changed_columns(held, status, message)
        if call:
            columns |= {"broker": held.broker, "account": held.order.account, "what": call, "tag": held.tag}
            columns["market_time"] = market_time
        async with self._engine.connect() as connection:
            if fill is not None and found is not None:
                columns |= _trade_columns(fill(await self._trade_number(connection)), found, model)
            statement = _CHANGES[bool(call), fill is not None]
            return (await connection.execute(statement, columns)).first() is not None

    async def held(self, instruments: InstrumentDirectory) -> dict[str, HeldOrder]:
        """The orders that wait, by number, in the order in which they came."""
        async with self._engine.connect() as connection:
            found = (await connection.execute(_HELD_ORDERS)).all()
        return {str(row.broker_order_id): _held_order(row, instruments) for row in found}

    async def by_tag(self, broker: str, account: str, tag: str, *, asked: bool) -> Sequence[BrokerOrder]:
        """The orders with a tag, oldest first, with their trades; `asked`: by a call, which the journal has."""
        key = {"broker": broker, "account": account, "tag": tag}
        async with self._engine.connect() as connection:
            return _broker_orders((await connection.execute(_LOOK_UP if asked else _SHOW, key)).all())

    async def books(self, broker: str) -> BrokerBooks:
        """The exchange's own books of a broker, from its orders and trades."""
        asked = {"broker": broker}
        async with self._engine.connect() as connection:
            orders = (await connection.execute(_NEWEST_ORDERS, asked)).all()
            books = (await connection.execute(_BOOKS, asked | {"buy": int(Side.BUY)})).all()
        cash: defaultdict[str, Decimal] = defaultdict(Decimal)
        for row in books:
            cash[row.account] += row.cash
        held = {Holding(row.account, row.instrument_id, Product(row.product)): row.held for row in books}
        return BrokerBooks(
            {row.tag: row.filled for row in orders},
            {which: quantity for which, quantity in held.items() if quantity},
            dict(cash),
        )

    async def _trade_number(self, connection: AsyncConnection) -> str:
        """A unique trade number. Numbers are fetched 64 at once; those left when a process ends are never used."""
        if not self._trade_numbers:
            found = await connection.execute(_TRADE_NUMBERS, {"count": _NUMBERS_AT_ONCE})
            self._trade_numbers += found.scalars()
        return str(self._trade_numbers.popleft())


def placed_columns(
    broker: str, tag: str, order: PaperOrder, status: BrokerOrderStatus, message: str
) -> dict[str, Any]:
    """The columns of an order that has just come."""
    return {
        "broker": broker,
        "account": order.account,
        "tag": tag,
        "instrument_id": order.instrument.instrument_id,
        "instrument_token": order.instrument.instrument_token,
        "side": int(order.side),
        "quantity": order.quantity,
        "product": int(order.product),
        "status": status.value,
        "message": message,
        "strategy_id": order.strategy_id,
        "slice": order.number,
        **terms_columns(order.terms),
    }


def _changed_columns(held: HeldOrder, status: BrokerOrderStatus, message: str) -> dict[str, Any]:
    """The columns of a held order as it is from now on."""
    return {
        "broker_order_id": int(held.number),
        "revision": held.revision,
        "status": status.value,
        "message": message,
        "quantity": held.order.quantity,
        "limit_price": held.terms.limit_price,
        "trigger_price": held.terms.trigger_price,
        "triggered": held.triggered,
        "came_at": held.came_at,
        "volume": held.volume,
    }


def _trade_columns(fill: Fill, found: Tradable, model: str) -> dict[str, Any]:
    """The columns of a trade: the market's price that made it, and by which model it was filled."""
    return {
        "exchange_trade_id": int(fill.exchange_trade_id),
        "fill_id": fill.fill_id,
        "traded": fill.quantity,
        "price": fill.price,
        "commission": fill.commission,
        "traded_at": fill.traded_at,
        "charges": charges_text(fill.charges),
        "market_price": found.seen,
        "model": model,
    }


def _held_order(row: Row[Any], instruments: InstrumentDirectory) -> HeldOrder:
    """A row of HELD_ORDERS."""
    return HeldOrder(
        str(row.broker_order_id),
        row.broker,
        _order(row, instruments),
        row.came_at,
        row.expires_at,
        row.tag,
        row.triggered,
        row.filled,
        Decimal(row.turnover),
        row.revision,
        row.volume,
    )


def _order(row: Row[Any], instruments: InstrumentDirectory) -> PaperOrder:
    instrument = instruments.by_id(row.instrument_id)
    return PaperOrder(
        row.account,
        row.strategy_id,
        instrument or _unlisted(row.instrument_id, row.instrument_token),
        Product(row.product),
        Side(row.side),
        row.quantity,
        row.slice,
        terms_of(row),
    )


def _unlisted(instrument_id: str, token: int) -> Instrument:
    """Stands for an instrument that is no longer listed: an order on it gets no price and ends with its day."""
    exchange, _, symbol = instrument_id.partition(":")
    return Instrument(instrument_id, token, exchange, symbol, symbol, exchange, "EQ", PAISA, 1, 0, "")


def _broker_orders(rows: Sequence[Row[Any]]) -> list[BrokerOrder]:
    """The orders of looked-up rows, each with its trades."""
    orders = []
    for number, of_order in groupby(rows, key=lambda row: row.broker_order_id):
        together = list(of_order)
        fills = tuple(
            Fill(
                str(row.fill_id),
                str(row.exchange_trade_id),
                row.quantity,
                row.price,
                row.commission,
                row.traded_at,
                charges_from_text(row.charges),
            )
            for row in together
            if row.fill_id is not None
        )
        first = together[0]
        terms: Terms = terms_of(first)
        status = BrokerOrderStatus(first.status)
        waits = status is BrokerOrderStatus.OPEN and terms.trigger_price is not None and not first.triggered
        orders.append(BrokerOrder(str(number), status, fills, first.message, first.ordered, terms, waits))
    return orders


def look_ups_purge(keep: timedelta) -> Purge:
    """Look-ups in the exchange's journal; its orders, trades and the calls that made them are kept."""
    rows = oldest("paper_exchange.calls", "called_at", "what = 'orders_by_tag'")
    return Purge("paper_exchange.calls", rows, keep)
