"""The paper exchange: simulates a broker's side of an order.

It has its own schema and connections and its own transactions, never trading's. So its journal of calls is independent
evidence, with which tests compare trading's rows. Like Kite it is not idempotent (placing twice makes two
orders) and finds orders by tag.

Orders that wait for a price are rows, and each process that runs the exchange knows them all: what one of them has changed
another one can't change from what it knew before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Final

from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.frame import Frame
from alphapanda.domain.funds import Payable
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.market import NOTHING_KNOWN, LastPrice, MarketView
from alphapanda.domain.order import Validity
from alphapanda.domain.order_events import Fill
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import Terms
from alphapanda.storage.price_cache import MarketViews
from alphapanda.trading.core.broker_books import BrokerBooks
from alphapanda.trading.core.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.trading.core.held_order import (
    CANCELLED_AS_ASKED,
    NO_MARKET,
    NOT_WORKING,
    HeldOrder,
    NotChanged,
    recording_ended,
)
from alphapanda.trading.core.matching import (
    AT_LAST_PRICE,
    AT_ONCE,
    IOC_UNFILLED,
    NEVER,
    Meeting,
    Tradable,
    at_once,
    refusal,
)
from alphapanda.trading.core.paper_charges import PaperOrder
from alphapanda.trading.core.paper_market import PaperMarket, held_until
from alphapanda.trading.store.paper_exchange_rows import PaperRows, placed_columns
from alphapanda.trading.traders.trader import Placement

_OPEN: Final = BrokerOrderStatus.OPEN
_MOST_TURNS: Final = 2
_MICROSECOND: Final = timedelta(microseconds=1)
NEVER_CAME: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for the times of an order that doesn't wait."""

FundsAtFill = Callable[[PositionKey, int, Decimal, datetime], Awaitable[Payable]]
"""Returns what an account's funds pay of an order that is about to fill: its position, signed units, price and market time."""


async def everything_paid(_: PositionKey, units: int, *__: object) -> Payable:
    """Funds that pay everything."""
    return Payable(abs(units))


async def shown_prices() -> None:
    """Prices are shown by who publishes them (in lockstep); nothing has to begin to follow them."""


class PaperExchange:
    """The exchange of all paper brokers.

    Args:
        engine: its own connections, not shared with trading's store.
        market: the fill model.
        prices: last prices and market time.
        calendar: the exchange's sessions.
        instruments: the instruments of today.

    Attributes:
        will_wait: called before an order comes that may wait, so that no price is missed that comes after it.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        market: PaperMarket,
        prices: MarketViews,
        calendar: TradingCalendar,
        instruments: Callable[[], InstrumentDirectory],
    ) -> None:
        self.will_wait: Callable[[], Awaitable[None]] = shown_prices
        self._rows = PaperRows(engine)
        self._market = market
        self._prices = prices
        self._calendar = calendar
        self._instruments = instruments
        self._held: dict[str, HeldOrder] | None = None
        self._waiting = 0
        self._changing = asyncio.Lock()

    @property
    def holds(self) -> bool:
        """Whether an order waits, as far as this process knows."""
        return bool(self._held)

    async def place(self, broker: str, placement: Placement) -> BrokerOrder:
        """Places an order; returns its state.

        It fills at once, or waits for its price (a market order on recorded bars for the next open), or is rejected: without a
        price or market time, or where an exchange wouldn't take it.
        """
        order, came_at = paper_order(placement), placement.came_at
        if order.terms.rests:
            await self.will_wait()
        token = order.instrument.instrument_token
        view = await self._view((token,))
        last, now = view.prices.get(token), view.market_time
        came = HeldOrder("", broker, order, came_at or now or NEVER_CAME, NEVER_CAME, placement.tag)
        if last is None or now is None:
            return await self._store(view, came, BrokerOrderStatus.REJECTED, NO_MARKET)
        if why := refusal(order.terms, order.side, last.price):
            return await self._store(view, came, BrokerOrderStatus.REJECTED, why)
        if last.bar is None:
            if at_once(order.terms, order.side, last.price):
                found = Tradable(last.price, now, model=AT_LAST_PRICE)
                return await self._store(view, came, BrokerOrderStatus.COMPLETE, found=found)
            if order.terms.validity is Validity.IOC:
                return await self._store(view, came, BrokerOrderStatus.CANCELLED, IOC_UNFILLED)
            came = replace(came, came_at=now)
        return await self._hold(view, replace(came, expires_at=self._day_end(order, came.came_at)))

    async def modify(self, broker: str, account: str, tag: str, quantity: int, terms: Terms) -> BrokerOrder:
        """Modifies an order that waits; returns its state. It counts as an order that comes now.

        Args:
            broker: the broker's name.
            account: the account.
            tag: the order's tag.
            quantity: units in all, with those filled.
            terms: how it is priced from now on.

        Raises:
            NotChanged: it doesn't wait any more, or an exchange wouldn't take it so.
        """

        async def change(held: HeldOrder) -> bool:
            token = held.order.instrument.instrument_token
            view = await self._view((token,))
            last, now = view.prices.get(token), view.market_time
            changed = held.modified(quantity, terms, last, now)
            if isinstance(changed, str):
                raise NotChanged(changed)
            if not changed.trades_now(last) or last is None or now is None:
                return await self._change(changed, _OPEN, what="modify")
            found = Tradable(last.price, now, model=AT_LAST_PRICE)
            complete = BrokerOrderStatus.COMPLETE
            return await self._change(changed, complete, "", found, changed.left, "modify")

        return await self._by_call(broker, account, tag, change)

    async def cancel(self, broker: str, account: str, tag: str) -> BrokerOrder:
        """Cancels what is left of an order that waits; returns its state.

        Raises:
            NotChanged: it doesn't wait any more.
        """

        async def change(held: HeldOrder) -> bool:
            return await self._change(held, BrokerOrderStatus.CANCELLED, CANCELLED_AS_ASKED, what="cancel")

        return await self._by_call(broker, account, tag, change)

    async def settle(self, payable: FundsAtFill = everything_paid) -> str:
        """Lets one held order meet the market at its present prices, or cancels it where its trading day is over.

        The one that the market meets first. One at a time, because what it leaves of the account's funds is what the next one
        may use.

        Args:
            payable: what of the order the account's funds pay; asked once the order before had its effects.

        Returns:
            Its tag; empty if there is none.

        Raises:
            Redis' and the database's errors; call it again.
        """
        held = await self._known()
        if not held:
            return ""
        tokens = {order.order.instrument.instrument_token for order in held.values()}
        return await self._settle_first(await self._prices.view(sorted(tokens)), payable)

    async def see(self, frame: Frame, payable: FundsAtFill = everything_paid) -> AsyncIterator[str]:
        """Lets held orders meet the ticks of a frame, one after the other.

        Frames come in order; the same one may be shown again.

        Yields:
            The tag of each order that has changed.
        """
        held = await self._known()
        if not held:
            return
        now = frame.market_time
        after = now - _MICROSECOND  # an order that came at this time knew the frame
        tokens = {order.order.instrument.instrument_token for order in held.values()}
        moves = [
            {token: LastPrice(Decimal(price) / frame.price_scale, after)}
            for token, price in zip(frame.instrument_token, frame.last_price, strict=True)
            if token in tokens
        ]
        for prices in moves or [{}]:
            while tag := await self._settle_first(MarketView(now, frame.feed_run, prices), payable):
                yield tag

    async def end(self) -> str:
        """Cancels the first order that is held, because the recording has ended; returns its tag, empty if there is none.

        Raises:
            The database's errors; call it again.
        """
        async with self._changing:
            for order in (await self._known()).values():
                await self._change(order, BrokerOrderStatus.CANCELLED, recording_ended(order))
                return order.tag
        return ""

    async def reread(self) -> None:
        """Reads the orders that wait anew: another process may have taken or changed some."""
        async with self._changing:
            self._held = None
            await self._known()

    async def _settle_first(self, view: MarketView, payable: FundsAtFill) -> str:
        async with self._changing:
            while True:
                order, met, why = self._first(await self._known(), view)
                if order is None:
                    return ""
                if met is None:
                    changed = await self._change(order, BrokerOrderStatus.CANCELLED, why)
                elif met.found is None:
                    changed = await self._change(replace(order.seen(view), triggered=True), _OPEN, "")
                else:
                    changed = await self._fill_held(order, met.found, payable)
                if changed:
                    return order.tag

    def _first(
        self, held: dict[str, HeldOrder], view: MarketView
    ) -> tuple[HeldOrder | None, Meeting | None, str]:
        """The order that the market meets first, or that ends, and why; None if nothing happens."""
        first: tuple[HeldOrder | None, Meeting | None, str] = (None, None, "")
        first_way = NEVER
        for order in held.values():
            met = order.met(view)
            why = "" if met is not None else order.ended_by(view)
            way = AT_ONCE if met is None else met.way
            if (met is not None or why) and way < first_way:
                first, first_way = (order, met, why), way
        return first

    async def _fill_held(self, held: HeldOrder, found: Tradable, payable: FundsAtFill) -> bool:
        """Fills what is paid of a held order, and rejects the rest."""
        order = held.order
        price = self._market.fill_price(order, found.price, found.at, passive=found.passive)
        paid = await payable(held.key, order.side.sign * held.left, price, found.at)
        status = BrokerOrderStatus.UNPAID if paid.message else BrokerOrderStatus.COMPLETE
        return await self._change(held, status, paid.message, found if paid.units else None, paid.units)

    async def _change(
        self,
        held: HeldOrder,
        status: BrokerOrderStatus,
        message: str = "",
        found: Tradable | None = None,
        units: int = 0,
        what: str = "",
    ) -> bool:
        """Stores a held order as it is from now on, after `what` (a call; empty: the market); `units` fill at `found`.

        Returns:
            False if another process has changed it meanwhile.
        """
        fill = None if found is None else partial(self._fill, held, found, units)
        changed = await self._rows.change(held, status, message, what, fill, found)
        if not changed or self._held is None:
            self._held = None
        elif status is _OPEN:
            self._held[held.number] = replace(held, revision=held.revision + 1)
        else:
            self._held.pop(held.number, None)
        return changed

    async def _by_call(
        self, broker: str, account: str, tag: str, change: Callable[[HeldOrder], Awaitable[bool]]
    ) -> BrokerOrder:
        """Changes the order with a tag that waits, and returns its state."""
        async with self._changing:
            for _ in range(_MOST_TURNS):
                for held in (await self._known()).values():
                    if (held.broker, held.order.account, held.tag) == (broker, account, tag):
                        if await change(held):
                            return (await self._rows.by_tag(broker, account, tag, asked=False))[0]
                        break
                self._held = None  # another process may have taken or changed it
        raise NotChanged(NOT_WORKING)

    async def _hold(self, view: MarketView, order: HeldOrder) -> BrokerOrder:
        try:
            placed = await self._store(view, order, _OPEN)
        except BaseException:
            self._held = None  # it may be stored: read again
            raise
        self._waiting += 1
        if self._held is not None:
            self._held[placed.broker_order_id] = replace(order, number=placed.broker_order_id)
        return placed

    async def _known(self) -> dict[str, HeldOrder]:
        while self._held is None:
            before = self._waiting
            held = await self._rows.held(self._instruments())
            if before == self._waiting:  # none has come since, which the rows read may lack
                self._held = held
        return self._held

    async def orders_by_tag(self, broker: str, account: str, tag: str) -> Sequence[BrokerOrder]:
        """The orders with a tag, oldest first, with their trades."""
        return await self._rows.by_tag(broker, account, tag, asked=True)

    async def books(self, broker: str) -> BrokerBooks:
        """The exchange's own books of a broker, from its orders and trades."""
        return await self._rows.books(broker)

    async def _store(
        self,
        view: MarketView,
        came: HeldOrder,
        status: BrokerOrderStatus,
        message: str = "",
        found: Tradable | None = None,
    ) -> BrokerOrder:
        """Stores an order that has come; it waits if its status is OPEN."""
        columns = placed_columns(came.broker, came.tag, came.order, status, message)
        waits = status is _OPEN
        columns |= {
            "market_time": view.market_time,
            "came_at": came.came_at if waits else None,
            "expires_at": came.expires_at if waits else None,
        }
        fill = None if found is None else partial(self._fill, came, found, came.left)
        number, fills = await self._rows.place(columns, fill, found)
        pending = waits and came.trigger_pending
        return BrokerOrder(number, status, fills, message, came.order.quantity, came.terms, pending)

    def _fill(self, held: HeldOrder, found: Tradable, units: int, number: str) -> Fill:
        return self._market.fill(
            held.broker,
            held.order,
            number,
            found.price,
            found.at,
            units,
            held.traded_before,
            passive=found.passive,
        )

    def _day_end(self, order: PaperOrder, came_at: datetime) -> datetime:
        return held_until(came_at, order.instrument.session_segment, self._calendar)

    async def _view(self, tokens: Sequence[int]) -> MarketView:
        try:
            return await self._prices.view(tokens)
        except (RedisError, OSError):
            return NOTHING_KNOWN


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
        placement.terms,
    )
