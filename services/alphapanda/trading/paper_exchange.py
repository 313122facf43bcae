"""The paper exchange: simulates a broker's side of an order.

It has its own schema and connections and its own transactions, never trading's. So its journal of calls is independent
evidence, with which tests compare trading's rows. Like Kite it is not idempotent (placing twice makes two
orders) and finds orders by tag.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.domain.market import NOTHING_KNOWN, MarketView
from alphapanda.domain.order import Product, Side
from alphapanda.domain.order_events import Fill
from alphapanda.storage.engine import without_transactions
from alphapanda.storage.price_cache import MarketViews
from alphapanda.storage.purging import Purge, oldest
from alphapanda.trading.core.broker_books import BrokerBooks, Holding
from alphapanda.trading.core.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.trading.core.paper_market import NO_MARKET, PaperMarket
from alphapanda.trading.traders.trader import Placement

# Each call is one statement and so one transaction: the journal line is stored together with the call's effect.
_PLACED = (
    "placed AS (INSERT INTO paper_exchange.orders (broker, account, tag, instrument_id, instrument_token, side, quantity,"
    " product, order_type, status, message, market_time)"
    " VALUES (:broker, :account, :tag, :instrument_id, :instrument_token, :side, :quantity,"
    " :product, :order_type, :status, :message, :market_time) RETURNING broker_order_id),"
    " called AS (INSERT INTO paper_exchange.calls (broker, account, what, tag, broker_order_id, quantity)"
    " SELECT :broker, :account, 'place', :tag, broker_order_id::text, :quantity FROM placed)"
)
_TRADED = (
    "traded AS (INSERT INTO paper_exchange.trades (exchange_trade_id, broker_order_id, fill_id, quantity, price,"
    " commission, traded_at) SELECT :exchange_trade_id, broker_order_id, :fill_id, :quantity, :price, :commission,"
    " :traded_at FROM placed)"
)
_REJECT = text(f"WITH {_PLACED} SELECT broker_order_id FROM placed")
_FILL = text(f"WITH {_PLACED}, {_TRADED} SELECT broker_order_id FROM placed")
_TRADE_NUMBERS = text(
    "SELECT nextval('paper_exchange.trade_numbers') AS number FROM generate_series(1, :count)"
)
_LOOK_UP = text(
    "WITH called AS (INSERT INTO paper_exchange.calls (broker, account, what, tag)"
    " VALUES (:broker, :account, 'orders_by_tag', :tag))"
    " SELECT o.broker_order_id, o.status, o.message, t.fill_id, t.exchange_trade_id, t.quantity, t.price,"
    " t.commission, t.traded_at FROM paper_exchange.orders o LEFT JOIN paper_exchange.trades t USING (broker_order_id)"
    " WHERE o.broker = :broker AND o.account = :account AND o.tag = :tag"
    " ORDER BY o.broker_order_id, t.exchange_trade_id"
)
_NEWEST_ORDERS = text(
    "SELECT o.tag, coalesce(sum(t.quantity), 0)::bigint AS filled FROM (SELECT broker_order_id, tag"
    " FROM paper_exchange.orders WHERE broker = :broker ORDER BY broker_order_id DESC LIMIT 500) AS o"
    " LEFT JOIN paper_exchange.trades t USING (broker_order_id) GROUP BY o.tag"
)
_BOOKS = text(
    "SELECT o.account, o.instrument_id, o.product,"
    " sum(CASE o.side WHEN :buy THEN t.quantity ELSE -t.quantity END)::bigint AS held,"
    " sum(CASE o.side WHEN :buy THEN -t.quantity ELSE t.quantity END * t.price - t.commission) AS cash"
    " FROM paper_exchange.orders o JOIN paper_exchange.trades t USING (broker_order_id) WHERE o.broker = :broker"
    " GROUP BY o.account, o.instrument_id, o.product"
)
_NUMBERS_AT_ONCE = 64


class PaperExchange:
    """The exchange of all paper brokers.

    Args:
        engine: its own connections, not shared with trading's store.
        market: the fill model.
        prices: last prices and market time.
    """

    def __init__(self, engine: AsyncEngine, market: PaperMarket, prices: MarketViews) -> None:
        self._engine = without_transactions(engine)
        self._market = market
        self._prices = prices
        self._trade_numbers: deque[int] = deque()

    async def place(self, broker: str, placement: Placement) -> BrokerOrder:
        """Places a market order, which fills at once, or is rejected without a price or market time; returns its state."""
        view = await self._view(placement.instrument_token)
        last = view.prices.get(placement.instrument_token)
        async with self._engine.connect() as connection:
            if last is None or view.market_time is None:
                rejected = BrokerOrder("", BrokerOrderStatus.REJECTED, message=NO_MARKET)
                return await self._store(connection, broker, placement, view, rejected)
            fill = self._market.fill(
                broker,
                placement.account,
                str(await self._trade_number(connection)),
                placement.side,
                placement.quantity,
                last.price,
                view.market_time,
            )
            filled = BrokerOrder("", BrokerOrderStatus.COMPLETE, (fill,))
            return await self._store(connection, broker, placement, view, filled)

    async def orders_by_tag(self, broker: str, account: str, tag: str) -> Sequence[BrokerOrder]:
        """The orders with a tag, oldest first, with their trades."""
        key = {"broker": broker, "account": account, "tag": tag}
        async with self._engine.connect() as connection:
            return _broker_orders((await connection.execute(_LOOK_UP, key)).all())

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

    async def _store(
        self,
        connection: AsyncConnection,
        broker: str,
        placement: Placement,
        view: MarketView,
        order: BrokerOrder,
    ) -> BrokerOrder:
        columns: dict[str, Any] = {
            "broker": broker,
            "account": placement.account,
            "tag": placement.tag,
            "instrument_id": placement.instrument.instrument_id,
            "instrument_token": placement.instrument_token,
            "side": int(placement.side),
            "quantity": placement.quantity,
            "product": int(placement.product),
            "order_type": int(placement.order_type),
            "status": order.status.value,
            "message": order.message,
            "market_time": view.market_time,
        }
        for fill in order.fills:
            columns |= {
                "exchange_trade_id": int(fill.exchange_trade_id),
                "fill_id": fill.fill_id,
                "price": fill.price,
                "commission": fill.commission,
                "traded_at": fill.traded_at,
            }
        number = (await connection.execute(_FILL if order.fills else _REJECT, columns)).scalar_one()
        return BrokerOrder(str(number), order.status, order.fills, order.message)

    async def _trade_number(self, connection: AsyncConnection) -> int:
        """A unique trade number. Numbers are fetched 64 at once; those left when a process ends are never used."""
        if not self._trade_numbers:
            found = await connection.execute(_TRADE_NUMBERS, {"count": _NUMBERS_AT_ONCE})
            self._trade_numbers += found.scalars()
        return self._trade_numbers.popleft()

    async def _view(self, instrument_token: int) -> MarketView:
        try:
            return await self._prices.view((instrument_token,))
        except (RedisError, OSError):
            return NOTHING_KNOWN


def _broker_orders(rows: Sequence[Row[Any]]) -> list[BrokerOrder]:
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
            )
            for row in together
            if row.fill_id is not None
        )
        status = BrokerOrderStatus(together[0].status)
        orders.append(BrokerOrder(str(number), status, fills, together[0].message))
    return orders


def look_ups_purge(keep: timedelta) -> Purge:
    """Look-ups in the exchange's journal; its orders, trades and the calls that made them are kept."""
    rows = oldest("paper_exchange.calls", "called_at", "what = 'orders_by_tag'")
    return Purge("paper_exchange.calls", rows, keep)
