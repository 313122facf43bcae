"""Three brokers behind one interface: what the market and the broker do, said the same for each of them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from resting_broker import RestingBroker
from tests.values import replace
from trading_room import NOON, PATIENT, Room, approved
from typing_extensions import override
from zerodha_room import UNHURRIED, Desk, desk_at_the_stub, market_is

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.order import PositionEffect, Side, TradingState, Validity
from alphapanda.domain.terms import Terms
from alphapanda.domain.verdict import Approved
from alphapanda.paper_exchange.core.fill_models import FillModels
from alphapanda.trading.core.order import Order
from alphapanda.trading.held_orders import HeldOrders
from alphapanda.trading.traders.trader import Modification, Placement

Opened = Callable[..., AbstractAsyncContextManager[Room]]
LAST: Final = Decimal(746)
"""The last price as a test begins, rupees: the stub exchange's own."""
MOST: Final = 50
"""Units that the dealer deals in."""


class Broker(ABC):
    """A broker and the room that trades with it.

    Attributes:
        name: of the broker.
        room: the room; another one after a restart.
    """

    name: str
    room: Room

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def entry(self, number: int = 0, strategy_id: str = "crossing", **changes: Any) -> Approved:
        """A verdict to buy 10 units at the market's price."""
        verdict = approved(number)
        key = replace(verdict.key, broker=self.name, strategy_id=strategy_id)
        return replace(verdict, key=key, **changes)

    def exit(self, number: int = 1, **changes: Any) -> Approved:
        """A verdict to sell 10 units that are held."""
        return self.entry(number, **{"side": Side.SELL, "effect": PositionEffect.REDUCES, **changes})

    async def when(self, verdict: Approved, has_come: Callable[[Order], bool]) -> Order:
        """The order once something is true of it; it is read at the broker meanwhile, as on an update."""
        async with asyncio.timeout(30):
            while not has_come(order := await self.room.order(verdict)):
                self.room.hints.changed("default", order.intents[0].tag)
                await asyncio.sleep(0.02)
        return order

    @asynccontextmanager
    async def trading(self) -> AsyncIterator[None]:
        """Opens a room; at its end orders stay at the broker."""
        async with self._opening() as self.room:
            await self.begin()
            await self.room.executor.start()
            await self.room.changes.start()
            await self.room.hints.start()
            yield

    @abstractmethod
    def _opening(self) -> AbstractAsyncContextManager[Room]:
        """A room at this broker."""

    async def begin(self) -> None:
        """Makes the market known here, and orders allowed."""
        await self.room.market_is(rupees=int(LAST))
        await self.room.mirror.write(self.name, TradingState.ACTIVE, 0)

    @abstractmethod
    async def trades_at(self, rupees: int, units: int = 1000) -> None:
        """The market trades at a price, so many units at most with us."""

    @abstractmethod
    async def placed(self) -> int:
        """Orders that were placed with us, by the broker's own journal."""

    @abstractmethod
    async def refuses(self) -> Approved:
        """A verdict whose order this broker refuses in words of its own."""


class Paper(Broker):
    """The paper exchange, on its rows and the frames."""

    name = "paper"

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._seconds, self._volume = 0, 0

    @override
    def _opening(self) -> AbstractAsyncContextManager[Room]:
        return self._opened(options=PATIENT, models=FillModels(fill_share=Decimal(100)))

    @override
    async def trades_at(self, rupees: int, units: int = 1000) -> None:
        self._seconds += 1
        self._volume += units
        at = nanoseconds(NOON + timedelta(seconds=self._seconds))
        frame = Frame("run", 0, 2, at, 100, [1], [rupees * 100], [at], volume=[self._volume])
        await HeldOrders(self.room.exchange, self.room.store, self.room.executor.driver).see(frame)

    @override
    async def placed(self) -> int:
        return sum((await self.room.calls()).values())

    @override
    async def refuses(self) -> Approved:
        await self.room.redis.flushall()  # it knows no price
        await self.room.mirror.write(self.name, TradingState.ACTIVE, 0)
        return self.exit()


class Zerodha(Broker):
    """Zerodha's trader at the stub exchange, over HTTP."""

    name = "zerodha"

    def __init__(self, opened: Opened, desk: Desk) -> None:
        super().__init__(opened)
        self._desk = desk

    @override
    def entry(self, number: int = 0, strategy_id: str = "crossing", **changes: Any) -> Approved:
        verdict = super().entry(number, strategy_id, **changes)
        key = replace(verdict.key, instrument_id=self._desk.instrument.instrument_id)
        return replace(verdict, key=key, instrument_token=self._desk.instrument.instrument_token)

    @override
    def _opening(self) -> AbstractAsyncContextManager[Room]:
        return self._opened(zerodha=self._desk.trader, instruments=self._desk.directory, options=UNHURRIED)

    @override
    async def begin(self) -> None:
        await market_is(self.room, self._desk.instrument)
        await self.room.mirror.write(self.name, TradingState.ACTIVE, 0)
        self.room.opted_in.add(self.name)

    @override
    async def trades_at(self, rupees: int, units: int = 1000) -> None:
        for order in self._desk.book():
            order.at_each_price = units
        self._desk.price(rupees)

    @override
    async def placed(self) -> int:
        return len(self._desk.book())

    @override
    async def refuses(self) -> Approved:
        words = "Insufficient funds. Required margin is 7 but available margin is 5."
        self._desk.fault("error", status=400, error_type="MarginException", message=words)
        return self.entry()


class DealersTrader(RestingBroker):
    """Deals with its clients at the last price, 50 units an order at most; what that price doesn't suit rests."""

    broker = "dealer"

    def __init__(self) -> None:
        super().__init__()
        self.last = LAST
        self._sides: dict[str, Side] = {}
        self._triggered: set[str] = set()

    @override
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        tag = placement.tag
        self._sides[tag] = placement.side
        await super().execute_order(placement)
        if placement.quantity > MOST:
            words = f"we deal in {MOST} units at most"
            self.orders[tag] = replace(self.orders[tag], status=BrokerOrderStatus.REJECTED, message=words)
        self.deal(tag, placement.quantity)
        if placement.terms.validity is Validity.IOC and self.orders[tag].status is BrokerOrderStatus.OPEN:
            self.orders[tag] = replace(self.orders[tag], status=BrokerOrderStatus.CANCELLED)
        return self.orders[tag]

    @override
    async def modify_order(self, modification: Modification) -> BrokerOrder:
        await super().modify_order(modification)
        self.deal(modification.tag, modification.quantity)
        return self.orders[modification.tag]

    def deal(self, tag: str, units: int) -> None:
        """Fills what the last price suits of an order, so many units at most."""
        order = self.orders[tag]
        terms, sign = order.terms or Terms(), self._sides[tag].sign
        if order.status is not BrokerOrderStatus.OPEN:
            return
        if terms.trigger_price is None or sign * (self.last - terms.trigger_price) >= 0:
            self._triggered.add(tag)
        if tag not in self._triggered or (
            terms.limit_price is not None and sign * (self.last - terms.limit_price) > 0
        ):
            return
        self.fill(tag, min(units, order.quantity - sum(fill.quantity for fill in order.fills)))


class Dealer(Broker):
    """A third broker, whose trader is a file of its own."""

    name = "dealer"

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._trader = DealersTrader()

    @override
    def _opening(self) -> AbstractAsyncContextManager[Room]:
        return self._opened(third=self._trader, options=PATIENT)

    @override
    async def trades_at(self, rupees: int, units: int = 1000) -> None:
        self._trader.last = Decimal(rupees)
        for tag in self._trader.orders:
            self._trader.deal(tag, units)
            self._trader.tell(tag)

    @override
    async def placed(self) -> int:
        return self._trader.called("place")

    @override
    async def refuses(self) -> Approved:
        return self.entry(quantity=MOST + 1)


@asynccontextmanager
async def broker_of(name: str, opened: Opened) -> AsyncIterator[Broker]:
    """A broker by name."""
    if name == "zerodha":
        async with desk_at_the_stub() as desk:
            yield Zerodha(opened, desk)
    else:
        yield Paper(opened) if name == "paper" else Dealer(opened)
