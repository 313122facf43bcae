"""The paper exchange: simulates a broker's side of an order.

It has its own schema and connections and its own transactions, never trading's. So its journal of calls is independent
evidence, with which tests compare trading's rows. Like Kite it is not idempotent (placing twice makes two
orders) and finds orders by tag.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.charges import charges_from_text, charges_text
from alphapanda.domain.funds import Payable
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.market import NOTHING_KNOWN, MarketView
from alphapanda.domain.money import PAISA
from alphapanda.domain.order import Product, Side
from alphapanda.domain.order_events import Fill
from alphapanda.domain.signal import PositionKey
from alphapanda.storage.engine import without_transactions
from alphapanda.storage.price_cache import MarketViews
from alphapanda.storage.purging import Purge, oldest
from alphapanda.trading.core.broker_books import BrokerBooks, Holding
from alphapanda.trading.core.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.trading.core.held_order import HeldOrder
from alphapanda.trading.core.paper_charges import PaperOrder
from alphapanda.trading.core.paper_market import (
    NO_MARKET,
    NO_NEXT_OPEN,
    RECORDING_ENDED,
    PaperMarket,
    Tradable,
    held_until,
)
from alphapanda.trading.store.paper_exchange_tables import HELD
from alphapanda.trading.traders.trader import Placement

# Each call is one statement and so one transaction: the journal line is stored together with the call's effect.
_PLACED = (
    "placed AS (INSERT INTO paper_exchange.orders (broker, account, tag, instrument_id, instrument_token, side, quantity,"
    " product, order_type, status, message, market_time, came_at, expires_at, strategy_id, slice)"
    " VALUES (:broker, :account, :tag, :instrument_id, :instrument_token, :side, :quantity,"
    " :product, :order_type, :status, :message, :market_time, :came_at, :expires_at, :strategy_id, :slice)"
    " RETURNING broker_order_id),"
    " called AS (INSERT INTO paper_exchange.calls (broker, account, what, tag, broker_order_id, quantity)"
    " SELECT :broker, :account, 'place', :tag, broker_order_id::text, :quantity FROM placed)"
)
_TRADED = (
    "traded AS (INSERT INTO paper_exchange.trades (exchange_trade_id, broker_order_id, fill_id, quantity, price,"
    " commission, traded_at, charges) SELECT :exchange_trade_id, broker_order_id, :fill_id, :quantity, :price,"
    " :commission, :traded_at, :charges FROM placed)"
)
_WITHOUT_TRADE = text(f"WITH {_PLACED} SELECT broker_order_id FROM placed")
_FILL = text(f"WITH {_PLACED}, {_TRADED} SELECT broker_order_id FROM placed")
# An order is settled once: only while it is held.
_SETTLED = (
    "placed AS (UPDATE paper_exchange.orders SET status = :status, message = :message"
    f" WHERE broker_order_id = :broker_order_id AND {HELD} RETURNING broker_order_id)"
)
_FILL_HELD = text(f"WITH {_SETTLED}, {_TRADED} SELECT broker_order_id FROM placed")
_END_HELD = text(f"WITH {_SETTLED} SELECT broker_order_id FROM placed")
_HELD = text(
    "SELECT broker_order_id, broker, account, tag, instrument_id, instrument_token, product, side, quantity, came_at,"
    " expires_at, strategy_id, slice"
    f" FROM paper_exchange.orders WHERE {HELD} ORDER BY broker_order_id"
)
_TRADE_NUMBERS = text(
    "SELECT nextval('paper_exchange.trade_numbers') AS number FROM generate_series(1, :count)"
)
_LOOK_UP = text(
    "WITH called AS (INSERT INTO paper_exchange.calls (broker, account, what, tag)"
    " VALUES (:broker, :account, 'orders_by_tag', :tag))"
    " SELECT o.broker_order_id, o.status, o.message, t.fill_id, t.exchange_trade_id, t.quantity, t.price,"
    " t.commission, t.traded_at, t.charges FROM paper_exchange.orders o LEFT JOIN paper_exchange.trades t USING (broker_order_id)"
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

FundsAtFill = Callable[[PositionKey, int, Decimal, datetime], Awaitable[Payable]]
"""Returns what an account's funds pay of an order that is about to fill: its position, signed units, price and market time."""


async def everything_paid(_: PositionKey, units: int, *__: object) -> Payable:
    """Funds that pay everything."""
    return Payable(abs(units))


class PaperExchange:
    """The exchange of all paper brokers.

    Args:
        engine: its own connections, not shared with trading's store.
        market: the fill model.
        prices: last prices and market time.
        calendar: the exchange's sessions.
        instruments: the instruments of today.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        market: PaperMarket,
        prices: MarketViews,
        calendar: TradingCalendar,
        instruments: Callable[[], InstrumentDirectory],
    ) -> None:
        self._engine = without_transactions(engine)
        self._market = market
        self._prices = prices
        self._calendar = calendar
        self._instruments = instruments
        self._trade_numbers: deque[int] = deque()
        self._held: dict[str, HeldOrder] | None = None

    async def place(self, broker: str, placement: Placement) -> BrokerOrder:
        """Places a market order; returns its state.

        It fills at once, on recorded bars is held until `settle` finds an open for it, or is rejected without a price or
        market time.
        """
        view = await self._view((placement.instrument_token,))
        last = view.prices.get(placement.instrument_token)
        async with self._engine.connect() as connection:
            if last is None or view.market_time is None:
                rejected = BrokerOrder("", BrokerOrderStatus.REJECTED, message=NO_MARKET)
                return await self._store(connection, broker, placement, view, rejected)
            came_at = placement.came_at or view.market_time
            segment = placement.instrument.session_segment
            expires_at = held_until(came_at, segment, self._calendar) if last.bar else came_at
            order = HeldOrder("", broker, paper_order(placement), came_at, expires_at, placement.tag)
            if last.bar is not None:
                return await self._hold(connection, placement, view, order)
            fill = await self._fill(connection, order, Tradable(last.price, view.market_time))
            filled = BrokerOrder("", BrokerOrderStatus.COMPLETE, (fill,))
            return await self._store(connection, broker, placement, view, filled)

    async def settle(self, payable: FundsAtFill = everything_paid) -> str:
        """Fills or rejects the first held order that has a price now, or cancels it where its trading day is over.

        One at a time, because what it leaves of the account's funds is what the next one may use.

        Args:
            payable: what of the order the account's funds pay; asked once the order before had its effects.

        Returns:
            Its tag; empty if there is none.

        Raises:
            Redis' and the database's errors; call it again.
        """
        if (held := self._held) is None:
            held = self._held = await self._stored_held()
        if not held:
            return ""
        tokens = {order.order.instrument.instrument_token for order in held.values()}
        view = await self._prices.view(sorted(tokens))
        for order in held.values():
            if (found := order.tradable(view)) is not None:
                await self._settle(order, found, payable)
            elif order.is_over(view):
                await self._cancel(order, NO_NEXT_OPEN)
            else:
                continue
            del held[order.number]
            return order.tag
        return ""

    async def end(self) -> str:
        """Cancels the first order that is held, because the recording has ended; returns its tag, empty if there is none.

        Raises:
            The database's errors; call it again.
        """
        if (held := self._held) is None:
            held = self._held = await self._stored_held()
        for order in held.values():
            await self._cancel(order, RECORDING_ENDED)
            del held[order.number]
            return order.tag
        return ""

    async def _cancel(self, order: HeldOrder, message: str) -> None:
        async with self._engine.connect() as connection:
            await connection.execute(_END_HELD, _ended(order, BrokerOrderStatus.CANCELLED, message))

    async def _settle(self, held: HeldOrder, found: Tradable, payable: FundsAtFill) -> None:
        """Fills what is paid of a held order, and rejects the rest."""
        order = held.order
        price = self._market.fill_price(order, found.price, found.at)
        paid = await payable(held.key, order.side.sign * order.quantity, price, found.at)
        status = BrokerOrderStatus.UNPAID if paid.message else BrokerOrderStatus.COMPLETE
        columns = _ended(held, status, paid.message)
        async with self._engine.connect() as connection:
            if not paid.units:
                await connection.execute(_END_HELD, columns)
                return
            fill = await self._fill(connection, held, found, paid.units)
            await connection.execute(_FILL_HELD, columns | _trade(fill) | {"quantity": fill.quantity})

    async def _hold(
        self, connection: AsyncConnection, placement: Placement, view: MarketView, order: HeldOrder
    ) -> BrokerOrder:
        waits = BrokerOrder("", BrokerOrderStatus.OPEN)
        try:
            placed = await self._store(connection, order.broker, placement, view, waits, order)
        except BaseException:
            self._held = None  # it may be stored: read again
            raise
        if self._held is not None:
            self._held[placed.broker_order_id] = replace(order, number=placed.broker_order_id)
        return placed

    async def _stored_held(self) -> dict[str, HeldOrder]:
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_HELD)).all()
        return {
            str(row.broker_order_id): HeldOrder(
                str(row.broker_order_id),
                row.broker,
                self._stored_order(row),
                row.came_at,
                row.expires_at,
                row.tag,
            )
            for row in rows
        }

    def _stored_order(self, row: Row[Any]) -> PaperOrder:
        instrument = self._instruments().by_id(row.instrument_id)
        return PaperOrder(
            row.account,
            row.strategy_id,
            instrument or _unlisted(row.instrument_id, row.instrument_token),
            Product(row.product),
            Side(row.side),
            row.quantity,
            row.slice,
        )

    async def _fill(
        self, connection: AsyncConnection, held: HeldOrder, found: Tradable, units: int | None = None
    ) -> Fill:
        number = str(await self._trade_number(connection))
        return self._market.fill(held.broker, held.order, number, found.price, found.at, units)

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
        held: HeldOrder | None = None,
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
            "order_type": int(placement.terms.order_type),
            "status": order.status.value,
            "message": order.message,
            "market_time": view.market_time,
            "came_at": held.came_at if held else None,
            "expires_at": held.expires_at if held else None,
            "strategy_id": placement.strategy_id,
            "slice": placement.number,
        }
        for fill in order.fills:
            columns |= _trade(fill)
        number = (await connection.execute(_FILL if order.fills else _WITHOUT_TRADE, columns)).scalar_one()
        return BrokerOrder(str(number), order.status, order.fills, order.message)

    async def _trade_number(self, connection: AsyncConnection) -> int:
        """A unique trade number. Numbers are fetched 64 at once; those left when a process ends are never used."""
        if not self._trade_numbers:
            found = await connection.execute(_TRADE_NUMBERS, {"count": _NUMBERS_AT_ONCE})
            self._trade_numbers += found.scalars()
        return self._trade_numbers.popleft()

    async def _view(self, tokens: Sequence[int]) -> MarketView:
        try:
            return await self._prices.view(tokens)
        except (RedisError, OSError):
            return NOTHING_KNOWN


def _ended(order: HeldOrder, status: BrokerOrderStatus, message: str) -> dict[str, Any]:
    """The columns of a held order that ends."""
    return {"broker_order_id": int(order.number), "status": status.value, "message": message}


def _trade(fill: Fill) -> dict[str, Any]:
    """The columns of a trade."""
    return {
        "exchange_trade_id": int(fill.exchange_trade_id),
        "fill_id": fill.fill_id,
        "price": fill.price,
        "commission": fill.commission,
        "traded_at": fill.traded_at,
        "charges": charges_text(fill.charges),
    }


def paper_order(placement: Placement) -> PaperOrder:
    """The order of a placement, for the fill model."""
    return PaperOrder(
        placement.account,
        placement.strategy_id,
        placement.instrument,
        placement.product,
        placement.side,
        placement.quantity,
        placement.number,
    )


def _unlisted(instrument_id: str, token: int) -> Instrument:
    """Stands for an instrument that is no longer listed: an order on it gets no price and ends with its day."""
    exchange, _, symbol = instrument_id.partition(":")
    return Instrument(instrument_id, token, exchange, symbol, symbol, exchange, "EQ", PAISA, 1, 0, "")


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
                charges_from_text(row.charges),
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
