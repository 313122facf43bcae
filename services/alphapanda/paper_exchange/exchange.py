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
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import repeat
from typing import Final

from msgspec.structs import replace
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.domain.broker_books import BrokerBooks
from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.frame import Frame
from alphapanda.domain.funds import Payable
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.market import NOTHING_KNOWN, LastPrice, MarketView
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import Terms
from alphapanda.paper_exchange.core.arrival import arriving
from alphapanda.paper_exchange.core.held_order import (
    CANCELLED_AS_ASKED,
    NOT_WORKING,
    HeldOrder,
    NotChanged,
    recording_ended,
)
from alphapanda.paper_exchange.core.matching import (
    AT_LAST_PRICE,
    AT_ONCE,
    NEVER,
    Meeting,
    Tradable,
)
from alphapanda.paper_exchange.core.paper_charges import PaperOrder
from alphapanda.paper_exchange.core.paper_market import PaperMarket
from alphapanda.paper_exchange.store.rows import PaperRows, placed_columns
from alphapanda.storage.price_cache import MarketViews

_OPEN: Final = BrokerOrderStatus.OPEN
_MOST_TURNS: Final = 2
_MICROSECOND: Final = timedelta(microseconds=1)
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
        self._knew: dict[str, HeldOrder] = {}
        self._waiting = 0
        self._changing = asyncio.Lock()

    @property
    def holds(self) -> bool:
        """Whether an order waits, as far as this process knows."""
        return bool(self._held)

    async def place(
        self, broker: str, tag: str, order: PaperOrder, came_at: datetime | None = None
    ) -> BrokerOrder:
        """Places an order; returns its state.

        It fills at once, or waits for its price (a market order on recorded bars for the next open), or is rejected: without a
        price or market time, or where an exchange wouldn't take it.

        Args:
            broker: the broker's name.
            tag: its tag.
            order: what is ordered.
            came_at: aware market time since which bars may fill it; None: now.
        """
        if order.terms.rests or self._market.models.may_hold:
            await self.will_wait()
        token = order.instrument.instrument_token
        view = await self._view((token,))
        come = arriving(self._market, self._calendar, broker, tag, order, came_at, view)
        if come.status is _OPEN:
            return await self._hold(view, come.order)
        return await self._store(view, come.order, come.status, come.message, come.found)

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
                return await self._change(changed, _OPEN, call=("modify", now))
            found = Tradable(last.price, now, model=AT_LAST_PRICE)
            complete = BrokerOrderStatus.COMPLETE
            return await self._change(changed, complete, "", found, changed.left, call=("modify", now))

        return await self._by_call(broker, account, tag, change)

    async def cancel(self, broker: str, account: str, tag: str) -> BrokerOrder:
        """Cancels what is left of an order that waits; returns its state.

        Raises:
            NotChanged: it doesn't wait any more.
        """

        async def change(held: HeldOrder) -> bool:
            now = (await self._view(())).market_time
            ended = BrokerOrderStatus.CANCELLED
            return await self._change(held, ended, CANCELLED_AS_ASKED, call=("cancel", now))

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
        volumes = frame.volume or repeat(None, len(frame.instrument_token))
        moves = [
            {token: LastPrice(Decimal(price) / frame.price_scale, after, volume=volume)}
            for token, price, volume in zip(frame.instrument_token, frame.last_price, volumes, strict=True)
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
            self._forget()
            await self._known()

    async def _settle_first(self, view: MarketView, payable: FundsAtFill) -> str:
        async with self._changing:
            while True:
                order, met, why = self._first(await self._known(), view)
                if order is None:
                    self._look(view)
                    return ""
                if met is None:
                    changed = await self._change(order, BrokerOrderStatus.CANCELLED, why)
                elif met.found is None:
                    changed = await self._change(replace(order.seen(view), triggered=True), _OPEN, "")
                else:
                    changed = await self._fill_held(order, met.found, view, payable)
                if changed:
                    return order.tag

    def _forget(self) -> None:
        """Reads the orders that wait anew before they are needed again."""
        self._knew, self._held = self._held or self._knew, None

    def _look(self, view: MarketView) -> None:
        """What was traded until now is no volume for orders that it didn't meet."""
        if self._market.models.measures_volume and self._held is not None:
            self._held |= {number: order.looked(view) for number, order in self._held.items()}

    def _first(
        self, held: dict[str, HeldOrder], view: MarketView
    ) -> tuple[HeldOrder | None, Meeting | None, str]:
        """The order that the market meets first, or that ends, and why; None if nothing happens."""
        first: tuple[HeldOrder | None, Meeting | None, str] = (None, None, "")
        first_way = NEVER
        for order in held.values():
            met = self._market.meets(order, view)
            why = "" if met is not None else order.ended_by(view)
            way = AT_ONCE if met is None else met.way
            if (met is not None or why) and way < first_way:
                first, first_way = (order, met, why), way
        return first

    async def _fill_held(
        self, held: HeldOrder, found: Tradable, view: MarketView, payable: FundsAtFill
    ) -> bool:
        """Fills what may fill and is paid of a held order. What isn't paid is rejected; what may not fill yet waits on."""
        units, traded = self._market.may_fill(held, view), held.traded(view)
        asked = self._market.fill_of(held, found, units, traded, "")
        paid = await payable(held.key, held.order.side.sign * units, asked.price, found.at)
        if paid.message:
            unpaid = BrokerOrderStatus.UNPAID
            at = found if paid.units else None
            return await self._change(held, unpaid, paid.message, at, paid.units, traded=traded)
        if units == held.left:
            return await self._change(held, BrokerOrderStatus.COMPLETE, "", found, units, traded=traded)
        rest = held.after(asked, view)
        return await self._change(held, _OPEN, "", found, units, traded=traded, becomes=rest)

    async def _change(
        self,
        held: HeldOrder,
        status: BrokerOrderStatus,
        message: str = "",
        found: Tradable | None = None,
        units: int = 0,
        call: tuple[str, datetime | None] = ("", None),
        traded: int | None = None,
        becomes: HeldOrder | None = None,
    ) -> bool:
        """Stores a held order as it is from now on, after a call (its name and market time; empty: the market); `units` fill at `found`.

        `becomes` is what waits on where that is another one than what fills.

        Returns:
            False if another process has changed it meanwhile.
        """
        rest = becomes or held
        fill = None if found is None else partial(self._market.fill_of, held, found, units, traded)
        model = "" if found is None else self._market.model_of(found)
        changed = await self._rows.change(rest, status, message, *call, fill, found, model)
        if not changed or self._held is None:
            self._forget()
        elif status is _OPEN:
            self._held[held.number] = replace(rest, revision=held.revision + 1)
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
                self._forget()  # another process may have taken or changed it
        raise NotChanged(NOT_WORKING)

    async def _hold(self, view: MarketView, order: HeldOrder) -> BrokerOrder:
        try:
            placed = await self._store(view, order, _OPEN)
        except BaseException:
            self._forget()  # it may be stored: read again
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
                held = {number: order.knowing(self._knew.get(number)) for number, order in held.items()}
                self._held = await self._with_bands(held)
        return self._held

    async def _with_bands(self, held: dict[str, HeldOrder]) -> dict[str, HeldOrder]:
        """Orders that were read anew, with the circuit limits of their day."""
        if self._market.models.circuit is None or not held:
            return held
        tokens = {order.order.instrument.instrument_token for order in held.values()}
        view = await self._prices.view(sorted(tokens))
        return {number: self._market.banded(order, view) for number, order in held.items()}

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
            "volume": came.volume if waits else None,
        }
        fill = None if found is None else partial(self._market.fill_of, came, found, came.left, None)
        model = "" if found is None else self._market.model_of(found)
        number, fills = await self._rows.place(columns, fill, found, model)
        pending = waits and came.trigger_pending
        return BrokerOrder(number, status, fills, message, came.order.quantity, came.terms, pending)

    async def _view(self, tokens: Sequence[int]) -> MarketView:
        try:
            return await self._prices.view(tokens)
        except (RedisError, OSError):
            return NOTHING_KNOWN
