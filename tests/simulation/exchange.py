"""The broker, outside of everything: its own record of calls and orders, which the oracle trusts and nobody else reads.

Not idempotent: placing twice makes two orders. An order is shown by its tag only from some time after it was taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from tests.simulation.market import Market
from tests.simulation.world import World
from typing_extensions import override

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.order_events import Fill
from alphapanda.paper_exchange.core.paper_charges import PercentCharges
from alphapanda.paper_exchange.core.paper_market import PaperMarket
from alphapanda.trading.traders.paper import paper_order
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer, Placement, Trader

LATE_TRADES = 0.5
"""Of the orders that the exchange cancels, those of which it tells one more trade afterwards."""
SEND_WINDOW = 2.0
"""Seconds, as services.TRADING has it."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a call: no clear answer, taken all the same or not, and for how many seconds it isn't shown."""

    unclear: bool = False
    accepted: bool = True
    hidden: float = 0.0

    @property
    def told(self) -> str:
        """For the story; empty where nothing goes wrong."""
        if not self.unclear:
            return ""
        return f"no clear answer: {'accepted' if self.accepted else 'not accepted'}"


@dataclass(slots=True)
class ExchangeOrder:
    """One order as the exchange has it."""

    number: str
    placement: Placement
    visible_from: float
    status: BrokerOrderStatus = BrokerOrderStatus.OPEN
    fills: list[Fill] = field(default_factory=list)
    message: str = ""

    @property
    def filled(self) -> int:
        """Units filled."""
        return sum(fill.quantity for fill in self.fills)

    def as_told(self) -> BrokerOrder:
        """What the broker answers."""
        return BrokerOrder(self.number, self.status, tuple(self.fills), self.message)


class Exchange:
    """The exchange of one broker.

    Args:
        world: where it stands.
        broker: its name.
        market: prices.
        visibility: seconds within which an order is shown by its tag.
    """

    def __init__(self, world: World, broker: str, market: Market, visibility: float) -> None:
        self.broker = broker
        self.visibility = visibility
        self.calls: list[tuple[float, str]] = []
        self.orders: list[ExchangeOrder] = []
        self.committed_at: dict[str, float] = {}
        self._world = world
        self._market = market
        self._model = PaperMarket(Decimal("0.05"), PercentCharges(Decimal("0.1")), seed=7)
        self._trades = 0
        self.late_trades = 0

    def asked(self, tag: str) -> None:
        """A process calls; the rule is that it does so within the send window of its commit."""
        since = self._world.loop.time() - self.committed_at.get(tag, -math.inf)
        if since > SEND_WINDOW:
            name = self._world.named(tag)
            self._world.violated(
                "a sender calls within its window", f"{name}, {since:.1f} s after its commit"
            )

    def fate(self, tag: str) -> Fate:
        """What becomes of a call."""
        world = self._world
        if not world.happens(world.faults.broker_unclear):
            return Fate()
        accepted, hidden = world.happens(0.5), world.chance.random() * self.visibility
        if world.happens(world.faults.broker_overdue):
            hidden = self.visibility + 10 + world.chance.random() * 60
            world.tell(f"{world.named(tag)} is shown later than the broker promised", fault="overdue")
        return Fate(unclear=True, accepted=accepted, hidden=hidden)

    def place(self, placement: Placement, invisible_for: float) -> ExchangeOrder:
        """Takes an order."""
        world = self._world
        tag = world.named(placement.tag)
        self.calls.append((world.loop.time(), placement.tag))
        order = ExchangeOrder(str(len(self.orders) + 1), placement, world.loop.time() + invisible_for)
        self.orders.append(order)
        if world.happens(world.faults.broker_rejects):
            order.status, order.message = BrokerOrderStatus.REJECTED, "margin"
        elif world.happens(world.faults.broker_partial):
            self._fill(order, max(1, placement.quantity // 2))
            world.loop.call_later(
                0.2 + world.chance.random() * 20, self._go_on, order, context=world.outside.context
            )
        else:
            self._fill(order, placement.quantity)
        world.tell(
            f"exchange takes {tag}",
            effect=f"#{order.number} {placement.side.name} {placement.quantity}: {order.status.value}",
            process=world.outside,
        )
        return order

    def by_tag(self, tag: str) -> BrokerOrder | None:
        """The order under a tag, where it is shown by now."""
        now = self._world.loop.time()
        for order in self.orders:
            if order.placement.tag == tag and order.visible_from <= now:
                return order.as_told()
        return None

    def _go_on(self, order: ExchangeOrder) -> None:
        """What was left of an order fills, or is cancelled."""
        world = self._world
        if world.happens(0.3):
            order.status, order.message = BrokerOrderStatus.CANCELLED, "cancelled by the exchange"
            if Random(f"{world.seed} {order.placement.tag}").random() < LATE_TRADES:
                self.late_trades += 1
                world.loop.call_later(5.0, self._trade_late, order, context=world.outside.context)
        else:
            self._fill(order, order.placement.quantity - order.filled)
        world.tell(
            f"exchange goes on with {world.named(order.placement.tag)}",
            effect=f"#{order.number}: {order.status.value}, {order.filled} filled",
            process=world.outside,
        )

    def _trade_late(self, order: ExchangeOrder) -> None:
        """A trade that was made before an order was cancelled is told after it."""
        self.late_trades -= 1
        self._fill(order, max(1, (order.placement.quantity - order.filled) // 2))
        order.status = BrokerOrderStatus.CANCELLED
        self._world.tell(
            f"exchange tells of a late trade of {self._world.named(order.placement.tag)}",
            effect=f"#{order.number}: {order.status.value}, {order.filled} filled",
            process=self._world.outside,
        )

    def _fill(self, order: ExchangeOrder, quantity: int) -> None:
        self._trades += 1
        placement = order.placement
        price, at = self._market.price(placement.instrument_token), self._market.now()
        order.fills.append(
            self._model.fill(self.broker, paper_order(placement), str(self._trades), price, at, quantity)
        )
        if order.filled == placement.quantity:
            order.status = BrokerOrderStatus.COMPLETE


class SimulatedTrader(Trader):
    """A process's way to the exchange."""

    def __init__(self, world: World, exchange: Exchange, mode: ExecutionMode) -> None:
        self.broker = exchange.broker
        self.visibility_window = exchange.visibility
        self._world = world
        self._exchange = exchange
        self._mode = mode

    @override
    def get_execution_mode(self) -> ExecutionMode:
        return self._mode

    @override
    async def initialize(self) -> None:
        """Nothing to do."""

    @override
    async def shutdown(self) -> None:
        """Nothing to do."""

    @override
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        world, tag = self._world, placement.tag
        self._exchange.asked(tag)
        fate = self._exchange.fate(tag)
        what = f"place {world.named(tag)}"
        world.tell(what, fault=fate.told)

        def effect() -> BrokerOrder:
            if not fate.accepted:
                raise NoClearAnswer("the call got lost on its way")
            told = self._exchange.place(placement, fate.hidden).as_told()
            if fate.unclear:
                raise NoClearAnswer("the answer got lost on its way")
            return told

        return await world.request(what, effect, NoClearAnswer)

    @override
    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        world = self._world
        return await world.request(
            f"look up {world.named(tag)}", lambda: self._exchange.by_tag(tag), NoClearAnswer
        )
