"""The paper exchange: stands where a broker stands.

It has rows and connections of its own and commits by itself, never in trading's transaction. Like Kite it is not
idempotent (placing twice makes two orders), shows orders by their tag, and writes down every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.domain.market import NOTHING_KNOWN, MarketView
from alphapanda.domain.order_events import Fill
from alphapanda.storage.price_cache import MarketViews
from alphapanda.trading.core.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.trading.core.paper_market import NO_MARKET, PaperMarket
from alphapanda.trading.traders.trader import Placement

_CALL = text(
    "INSERT INTO paper_exchange.calls (broker, account, what, tag, broker_order_id, quantity)"
    " VALUES (:broker, :account, :what, :tag, :broker_order_id, :quantity)"
)
_PLACE = text(
    "INSERT INTO paper_exchange.orders (broker, account, tag, instrument_id, instrument_token, side, quantity,"
    " product, order_type, status, message, market_time)"
    " VALUES (:broker, :account, :tag, :instrument_id, :instrument_token, :side, :quantity,"
    " :product, :order_type, :status, :message, :market_time)"
    " RETURNING broker_order_id, nextval('paper_exchange.trade_numbers') AS trade_number"
)
_TRADE = text(
    "INSERT INTO paper_exchange.trades (exchange_trade_id, broker_order_id, fill_id, quantity, price, commission,"
    " traded_at) VALUES (:exchange_trade_id, :broker_order_id, :fill_id, :quantity, :price, :commission, :traded_at)"
)
_COLUMNS = (
    "SELECT o.broker_order_id, o.status, o.message, t.fill_id, t.exchange_trade_id, t.quantity, t.price,"
    " t.commission, t.traded_at FROM paper_exchange.orders o LEFT JOIN paper_exchange.trades t USING (broker_order_id)"
)
_ORDER = text(f"{_COLUMNS} WHERE o.broker = :broker AND o.account = :account AND o.broker_order_id = :number")
_BY_TAG = text(
    f"{_COLUMNS} WHERE o.broker = :broker AND o.account = :account AND o.tag = :tag"
    " ORDER BY o.broker_order_id, t.exchange_trade_id"
)


class PaperExchange:
    """The exchange, for every paper broker.

    Args:
        engine: connections of its own.
        market: the fill model.
        prices: last prices and market time.
    """

    def __init__(self, engine: AsyncEngine, market: PaperMarket, prices: MarketViews) -> None:
        self._engine = engine
        self._market = market
        self._prices = prices

    async def place(self, broker: str, placement: Placement) -> str:
        """Takes a market order, which fills at once, or is rejected where there is no price; returns its number."""
        view = await self._view(placement.instrument_token)
        last = view.prices.get(placement.instrument_token)
        filled = last is not None and view.market_time is not None
        status = BrokerOrderStatus.COMPLETE if filled else BrokerOrderStatus.REJECTED
        async with self._engine.begin() as connection:
            placed = await connection.execute(
                _PLACE,
                {
                    "broker": broker,
                    "account": placement.account,
                    "tag": placement.tag,
                    "instrument_id": placement.instrument.instrument_id,
                    "instrument_token": placement.instrument_token,
                    "side": int(placement.side),
                    "quantity": placement.quantity,
                    "product": int(placement.product),
                    "order_type": int(placement.order_type),
                    "status": status.value,
                    "message": "" if filled else NO_MARKET,
                    "market_time": view.market_time,
                },
            )
            row = placed.one()
            number = str(row.broker_order_id)
            await self._write_down(
                connection, broker, placement.account, "place", placement.tag, number, placement.quantity
            )
            if last is not None and view.market_time is not None:
                fill = self._market.fill(
                    broker,
                    placement.account,
                    str(row.trade_number),
                    placement.side,
                    placement.quantity,
                    last.price,
                    view.market_time,
                )
                await connection.execute(_TRADE, _trade_columns(row, fill))
        return number

    async def order(self, broker: str, account: str, number: str) -> BrokerOrder:
        """The order with this number, with its trades.

        Raises:
            LookupError: there is none.
        """
        async with self._engine.begin() as connection:
            await self._write_down(connection, broker, account, "order", "", number)
            key = {"broker": broker, "account": account, "number": int(number)}
            found = _broker_orders((await connection.execute(_ORDER, key)).all())
        if not found:
            raise LookupError(f"no order {number} of {broker}/{account}")
        return found[0]

    async def orders_by_tag(self, broker: str, account: str, tag: str) -> Sequence[BrokerOrder]:
        """The orders under a tag, oldest first, with their trades."""
        async with self._engine.begin() as connection:
            await self._write_down(connection, broker, account, "orders_by_tag", tag)
            key = {"broker": broker, "account": account, "tag": tag}
            return _broker_orders((await connection.execute(_BY_TAG, key)).all())

    async def _view(self, instrument_token: int) -> MarketView:
        try:
            return await self._prices.view((instrument_token,))
        except (RedisError, OSError):
            return NOTHING_KNOWN

    async def _write_down(
        self,
        connection: AsyncConnection,
        broker: str,
        account: str,
        what: str,
        tag: str,
        number: str = "",
        quantity: int | None = None,
    ) -> None:
        await connection.execute(
            _CALL,
            {
                "broker": broker,
                "account": account,
                "what": what,
                "tag": tag,
                "broker_order_id": number,
                "quantity": quantity,
            },
        )


def _trade_columns(order: Row[Any], fill: Fill) -> dict[str, Any]:
    return {
        "exchange_trade_id": int(fill.exchange_trade_id),
        "broker_order_id": order.broker_order_id,
        "fill_id": fill.fill_id,
        "quantity": fill.quantity,
        "price": fill.price,
        "commission": fill.commission,
        "traded_at": fill.traded_at,
    }


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
