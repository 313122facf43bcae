"""Paper brokers: traders that send orders to the paper exchange."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from alphapanda.domain.broker_books import BrokerBooks
from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.paper_exchange.core.held_order import NotChanged
from alphapanda.paper_exchange.core.paper_charges import PaperOrder
from alphapanda.paper_exchange.exchange import PaperExchange
from alphapanda.trading.traders.registry import BrokerRegistration, TraderParts
from alphapanda.trading.traders.trader import (
    BrokerRefused,
    Cancellation,
    ExecutionMode,
    Modification,
    NoClearAnswer,
    Placement,
    Trader,
)


class PaperTrader(Trader):
    """A trader whose orders go to the paper exchange.

    Args:
        broker: the broker's name.
        exchange: the paper exchange.
        visibility_window: seconds within which the exchange shows an order that it has received.
    """

    def __init__(self, broker: str, exchange: PaperExchange, visibility_window: float) -> None:
        self.broker = broker
        self.visibility_window = visibility_window
        self._exchange = exchange

    @override
    def get_execution_mode(self) -> ExecutionMode:
        return ExecutionMode.PAPER

    @property
    @override
    def tells_of_fills(self) -> bool:
        """True: HeldOrders drives an order that the exchange has held."""
        return True

    @override
    async def initialize(self) -> None:
        """Does nothing: the exchange is ready when its database is."""

    @override
    async def shutdown(self) -> None:
        """Does nothing."""

    @override
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        try:
            order = paper_order(placement)
            return await self._exchange.place(self.broker, placement.tag, order, placement.came_at)
        except (SQLAlchemyError, OSError) as broken:
            raise NoClearAnswer(str(broken)) from broken

    @override
    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        """The first order with the tag; there is at most one, because a tag is sent once."""
        try:
            found = await self._exchange.orders_by_tag(self.broker, account, tag)
        except (SQLAlchemyError, OSError) as broken:
            raise NoClearAnswer(str(broken)) from broken
        return found[0] if found else None

    @override
    async def modify_order(self, modification: Modification) -> BrokerOrder:
        asked = modification
        return await self._changed(
            self._exchange.modify(self.broker, asked.account, asked.tag, asked.quantity, asked.terms)
        )

    @override
    async def cancel_order(self, cancellation: Cancellation) -> BrokerOrder:
        return await self._changed(self._exchange.cancel(self.broker, cancellation.account, cancellation.tag))

    async def _changed(self, call: Awaitable[BrokerOrder]) -> BrokerOrder:
        try:
            return await call
        except NotChanged as refused:
            raise BrokerRefused(str(refused)) from refused
        except (SQLAlchemyError, OSError) as broken:
            raise NoClearAnswer(str(broken)) from broken

    @override
    async def books(self) -> BrokerBooks:
        try:
            return await self._exchange.books(self.broker)
        except (SQLAlchemyError, OSError) as broken:
            raise NoClearAnswer(str(broken)) from broken


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


def registration(name: str) -> BrokerRegistration:
    """The registration of a paper broker with this name."""
    return BrokerRegistration(name, live=False, build=partial(_build, name))


def _build(name: str, parts: TraderParts) -> Trader:
    return PaperTrader(name, parts.paper_exchange, parts.paper_visibility_window)
