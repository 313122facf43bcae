"""The broker, outside of everything: its own record of calls and orders, which the oracle trusts and nobody else reads.

Not idempotent: placing twice makes two orders. An order is shown by its tag only from some time after it was taken, and an
unclear change of it takes effect as late. Orders rest, trigger and trade in parts as prices pass; each second it looks at them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from tests.simulation.loop import Condition, Process
from tests.simulation.market import Market
from tests.simulation.world import World
from tests.values import replace

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.order import OrderType, Validity
from alphapanda.domain.order_events import Fill
from alphapanda.domain.terms import Terms
from alphapanda.paper_exchange.core.paper_charges import PercentCharges
from alphapanda.paper_exchange.core.paper_market import PaperMarket
from alphapanda.trading.traders.paper import paper_order
from alphapanda.trading.traders.trader import BrokerRefused, Changed, Placement

LOOK_SECONDS = 1.0
LATE_TRADES = 0.5
"""Of the orders that the exchange cancels, those of which it tells one more trade afterwards."""
SEND_WINDOW = 2.0
"""Seconds, as services.TRADING has it."""
CANCEL, MODIFY = "cancel", "modify"


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
    rests: bool = False
    triggered: bool = False

    @property
    def filled(self) -> int:
        """Units filled."""
        return sum(fill.quantity for fill in self.fills)

    @property
    def left(self) -> int:
        """Units that may still fill."""
        return self.placement.quantity - self.filled if self.status is BrokerOrderStatus.OPEN else 0

    @property
    def waits(self) -> bool:
        """Whether it is a stop that waits for its trigger."""
        return self.placement.terms.trigger_price is not None and not self.triggered

    def triggers(self, price: Decimal) -> bool:
        """Whether a price triggers it."""
        trigger = self.placement.terms.trigger_price
        return trigger is not None and (price - trigger) * self.placement.side.sign >= 0

    def trades_at(self, price: Decimal) -> bool:
        """Whether it trades at a price once it is triggered."""
        limit = self.placement.terms.limit_price
        return limit is None or (limit - price) * self.placement.side.sign >= 0

    def as_told(self) -> BrokerOrder:
        """What the broker answers."""
        placed = self.placement
        return BrokerOrder(
            self.number,
            self.status,
            tuple(self.fills),
            self.message,
            placed.quantity,
            placed.terms,
            self.waits,
        )


class Exchange:
    """The exchange of one broker.

    Args:
        world: where it stands.
        broker: its name.
        market: prices.
        visibility: seconds within which an order is shown by its tag.

    Attributes:
        calls: when each tag was placed.
        orders: what it took.
        committed_at: when the sending of a tag, or the change of one ("cancel TAG", "modify TAG"), was committed last.
        changes: calls by kind and tag.
        changes_committed: of changes, how often each was committed as about to be called.
        truthful: whether no trade is told after an order's end, so that a position that is left may be judged.
        on_fill: told of each fill, with its units.
        listeners: processes that are told which order to read, and how.
    """

    def __init__(self, world: World, broker: str, market: Market, visibility: float) -> None:
        self.broker = broker
        self.visibility = visibility
        self.calls: list[tuple[float, str]] = []
        self.orders: list[ExchangeOrder] = []
        self.committed_at: dict[str, float] = {}
        self.changes: Counter[tuple[str, str]] = Counter()
        self.changes_committed: Counter[tuple[str, str]] = Counter()
        self.truthful = False
        self.on_fill: Callable[[ExchangeOrder, int], None] = lambda *_: None
        self.listeners: list[tuple[Process, Changed]] = []
        self._looking = False
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
        elif placement.terms.order_type is not OrderType.MARKET:
            self._rest(order)
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

    # -- orders that rest ---------------------------------------------------------------------------------------------

    def _rest(self, order: ExchangeOrder) -> None:
        """An order with a limit or a trigger: what doesn't trade at once rests, unless it may not."""
        order.rests = True
        self._meet(order)
        if order.left and order.placement.terms.validity is Validity.IOC:
            order.status, order.message = BrokerOrderStatus.CANCELLED, "IOC: not filled at once"
        elif order.left and not self._looking:
            self._looking = True
            self._world.loop.call_later(LOOK_SECONDS, self._look, context=self._world.outside.context)

    def _look(self) -> None:
        """A second has passed, and prices are others."""
        resting = [order for order in self.orders if order.rests and order.left]
        for order in resting:
            before = order.filled, order.status, order.triggered
            self._meet(order)
            if before != (order.filled, order.status, order.triggered):
                self._tell(order, "meets the market")
        self._looking = bool(resting)
        if resting:
            self._world.loop.call_later(LOOK_SECONDS, self._look, context=self._world.outside.context)

    def _meet(self, order: ExchangeOrder) -> None:
        world, price = self._world, self._market.price(order.placement.instrument_token)
        if order.waits:
            if not order.triggers(price):
                return
            order.triggered = True
            if world.happens(world.faults.broker_cancels_stops):
                order.status, order.message = BrokerOrderStatus.CANCELLED, "price protection"
                return
        if order.left and order.trades_at(price):
            part = world.happens(world.faults.broker_partial)
            self._fill(order, max(1, order.left // 2) if part else order.left)

    def close(self) -> None:
        """The day ends: what still works is cancelled."""
        for order in self.orders:
            if order.left:
                order.status, order.message = BrokerOrderStatus.CANCELLED, "the day is over"
                self._tell(order, "ends")

    def _tell(self, order: ExchangeOrder, what: str) -> None:
        self._world.tell(
            f"exchange: {self._world.named(order.placement.tag)} {what}",
            effect=f"#{order.number}: {order.status.value}, {order.filled} of {order.placement.quantity} filled",
            process=self._world.outside,
        )

    # -- changes ------------------------------------------------------------------------------------------------------

    def change_asked(self, kind: str, tag: str) -> None:
        """A process calls to change an order; each call follows its own commit, within the send window."""
        self.changes[kind, tag] += 1
        name, since = (
            self._world.named(tag),
            self._world.loop.time() - self.committed_at.get(f"{kind} {tag}", -math.inf),
        )
        if since > SEND_WINDOW:
            self._world.violated(
                "a sender calls within its window", f"{kind} {name}, {since:.1f} s after its commit"
            )
        if self.changes[kind, tag] > self.changes_committed[kind, tag]:
            self._world.violated("a change is called once for each commit", f"{kind} {name}")

    def cancel(self, tag: str) -> BrokerOrder:
        """Cancels an order.

        Raises:
            BrokerRefused: it doesn't work any more, or is refused by chance.
        """
        order = self._working(tag)
        order.status, order.message = BrokerOrderStatus.CANCELLED, "cancelled on request"
        self._tell(order, "is cancelled")
        return order.as_told()

    def modify(self, tag: str, quantity: int, terms: Terms) -> BrokerOrder:
        """Modifies an order.

        Raises:
            BrokerRefused: it doesn't work any more, has filled as much, or is refused by chance.
        """
        order = self._working(tag)
        if quantity <= order.filled:
            raise BrokerRefused(f"{order.filled} units have filled")
        if order.triggered and terms.trigger_price != order.placement.terms.trigger_price:
            raise BrokerRefused("its stop has triggered")
        order.placement = replace(order.placement, quantity=quantity, terms=terms)
        self._tell(order, "is modified")
        if order.rests:
            self._meet(order)
        return order.as_told()

    def later(self, seconds: float, change: Callable[[], BrokerOrder]) -> None:
        """A change that was taken takes effect only after some seconds, if it still can."""
        self._world.loop.call_later(seconds, self._late_change, change, context=self._world.outside.context)

    def _late_change(self, change: Callable[[], BrokerOrder]) -> None:
        try:
            change()
        except BrokerRefused as refused:
            self._world.tell(
                "exchange: a change comes too late", effect=str(refused), process=self._world.outside
            )

    def _working(self, tag: str) -> ExchangeOrder:
        found = next((order for order in self.orders if order.placement.tag == tag), None)
        if found is None or not found.left:
            raise BrokerRefused("the order doesn't work any more")
        if self._world.happens(self._world.faults.broker_rejects):
            raise BrokerRefused("the exchange doesn't want to")
        return found

    # -- market orders that trade in parts ----------------------------------------------------------------------------

    def _go_on(self, order: ExchangeOrder) -> None:
        """What was left of an order fills, or is cancelled."""
        world = self._world
        if not order.left:
            return
        if world.happens(0.3):
            order.status, order.message = BrokerOrderStatus.CANCELLED, "cancelled by the exchange"
            if not self.truthful and Random(f"{world.seed} {order.placement.tag}").random() < LATE_TRADES:
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
        self.on_fill(order, quantity)
        self._hint(order)

    def _hint(self, order: ExchangeOrder) -> None:
        """Tells processes of an order: late, twice or not at all."""
        world = self._world
        for process, changed in self.listeners:
            if process.condition is not Condition.DEAD:
                for _ in range(world.chance.choice((0, 1, 1, 2))):
                    context = process.context.copy()
                    world.loop.call_later(
                        world.latency(),
                        changed,
                        order.placement.account,
                        order.placement.tag,
                        context=context,
                    )
