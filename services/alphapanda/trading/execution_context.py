"""The execution context: what the executor, the decisions and the look-ups share, and helpers that they all use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog
from redis.exceptions import RedisError

from alphapanda.contract.order_wire import order_event
from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.market import NOTHING_KNOWN, MarketView
from alphapanda.domain.order import TradingState
from alphapanda.domain.order_events import Filled, OrderUpdate
from alphapanda.storage.price_cache import ExecutionViews
from alphapanda.trading.core.intent import PRODUCER, ImpossibleReport, Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_record import event_id_of
from alphapanda.trading.measuring import OrderFigures
from alphapanda.trading.order_spans import UNRECORDED, OrderSpans
from alphapanda.trading.store.port import OrderChange, TradingStore, TradingTransaction
from alphapanda.trading.traders.trader import Trader
from panda.events.v1.events_pb2 import Event

OPT_IN_PAYLOAD: Final = "strategy_changed"
"""Payload of the topic that OptIns follows from its beginning; it is read completely before the first signal."""

Instruments = Callable[[], InstrumentDirectory]
"""Returns today's instruments. Call it each time: the directory is replaced as a whole, not changed."""

BootClock = Callable[[], float]
"""Seconds since boot, suspension included (CLOCK_BOOTTIME), so that a frozen process sees how long it was frozen."""

Step = Callable[[str], None]
"""Called with the name of each step of an order; tests stop the process in it."""

_log = structlog.get_logger(__name__)


def no_step(_: str) -> None:
    """Default step callback; does nothing."""


def no_latency(_broker: str, _seconds: float) -> None:
    """Default latency callback; does nothing."""


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """Store, traders, market and clocks that orders are executed with.

    Attributes:
        store: orders, fills, copies of the kill switches.
        traders: one for each active broker, by name.
        market: prices, market time and kill switches from Redis.
        instruments: today's instruments.
        boot_clock: seconds since boot, suspension included.
        wall_clock: aware wall time.
        order_sent: latency callback: broker, and seconds from the decision to send until the answer was committed.
        measured: reports latencies of orders.
        spans: records the orders' spans.
    """

    store: TradingStore
    traders: Mapping[str, Trader]
    market: ExecutionViews
    instruments: Instruments
    boot_clock: BootClock
    wall_clock: Callable[[], datetime]
    order_sent: Callable[[str, float], None] = no_latency
    measured: OrderFigures = field(default_factory=OrderFigures)
    spans: OrderSpans = UNRECORDED

    def change(self, order: Order, events: Sequence[OrderUpdate] = ()) -> OrderChange:
        """The change to store: an order, with the events and fills of its updates."""
        self.spans.changed(order)
        fills = [event.fill for event in events if isinstance(event, Filled)]
        now = self.wall_clock()
        return OrderChange(order, fills, [event_of(order, event, now) for event in events])

    async def market_time(self) -> datetime | None:
        """Market time; None where it is unknown or Redis can't be read (rule 4)."""
        try:
            return (await self.market.view(())).market_time
        except (RedisError, OSError):
            return None

    async def market_and_states(
        self, orders: Collection[Order]
    ) -> tuple[MarketView, Mapping[str, TradingState]] | None:
        """Market time, the orders' prices and their brokers' kill switches; None while Redis can't be read."""
        tokens = sorted({order.instrument_token for order in orders})
        brokers = sorted({order.key.broker for order in orders})
        try:
            return await self.market.view_with_states(tokens, brokers)
        except (RedisError, OSError):
            return None


UNREADABLE: Final[tuple[MarketView, Mapping[str, TradingState]]] = (NOTHING_KNOWN, {})
"""Market and kill switches while Redis can't be read: nothing is known."""


class OptIns:
    """The brokers that each strategy opted in to, from the control topic; the newest revision counts."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, tuple[str, ...]]] = {}

    async def learn(self, event: Event) -> None:
        """Applies a StrategyChanged event; one with an older revision changes nothing."""
        changed = event.strategy_changed
        if changed.revision > self._known.get(changed.strategy_id, (0, ()))[0]:
            self._known[changed.strategy_id] = (changed.revision, tuple(changed.brokers))

    def __call__(self, strategy_id: str) -> Collection[str]:
        """The brokers a strategy opted in to; none for an unknown strategy."""
        return self._known.get(strategy_id, (0, ()))[1]


async def locked_order(transaction: TradingTransaction, order_id: str) -> Order:
    """Locks and reads an order.

    Raises:
        LookupError: there is no such order.
    """
    order = await transaction.locked(order_id)
    if order is None:
        raise LookupError(f"there is no order {order_id}")
    return order


def reported(
    order: Order, intent: Intent, report: BrokerOrder, market_time: datetime | None
) -> list[OrderUpdate]:
    """Applies a broker's report to an order. A fill after the order's end is booked with an alarm.

    An impossible report changes nothing and is logged as an error.
    """
    had_ended = order.status.is_final
    try:
        updates = order.report(intent, report, market_time)
    except ImpossibleReport as impossible:
        _log.error("order.report_impossible", order_id=order.order_id, error=str(impossible))
        return []
    if had_ended and updates:
        _log.error(
            "order.filled_late",
            alarm=True,
            order_id=order.order_id,
            broker=order.key.broker,
            account=order.key.account,
            strategy_id=order.key.strategy_id,
            tag=intent.tag,
            status=order.status.name,
            filled=order.filled,
        )
    return updates


def event_of(order: Order, update: OrderUpdate, wall_time: datetime) -> Event:
    """The event of an order update. Its id is derived from the order's revision; its cause is risk's verdict."""
    return order_event(
        update,
        event_id=event_id_of(order.order_id, update.order.revision),
        correlation_id=order.correlation_id,
        causation_id=order.causation_id,
        source=PRODUCER,
        occurred_at=wall_time,
    )
