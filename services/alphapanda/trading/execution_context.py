"""What orders are executed with, and the few things that whoever works on an order does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from redis.exceptions import RedisError

from alphapanda.contract.order_wire import order_event
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.market import NOTHING_KNOWN, MarketView
from alphapanda.domain.order import TradingState
from alphapanda.domain.order_events import Filled, OrderUpdate
from alphapanda.storage.price_cache import ExecutionViews
from alphapanda.trading.core.broker_order import BrokerOrder
from alphapanda.trading.core.intent import PRODUCER, ImpossibleReport, Intent
from alphapanda.trading.core.order import Order, event_id_of
from alphapanda.trading.store.port import OrderChange, TradingStore, TradingTransaction
from alphapanda.trading.traders.trader import Trader
from panda.events.v1.events_pb2 import Event

OPT_IN_PAYLOAD: Final = "strategy_changed"
"""The payload of the topic that OptIns follows, whole, from before the first signal on."""

Instruments = Callable[[], InstrumentDirectory]
"""The instruments of today; asked anew each time, because the directory is replaced as a whole."""

BootClock = Callable[[], float]
"""Seconds since boot, suspension included, so that a frozen process sees how long it was away (CLOCK_BOOTTIME)."""

Step = Callable[[str], None]
"""Told of each step an order takes; tests stop the process in it."""

_log = structlog.get_logger(__name__)


def no_step(_: str) -> None:
    """Default step callback; does nothing."""


def no_latency(_broker: str, _seconds: float) -> None:
    """Default latency callback; does nothing."""


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """What orders are executed with.

    Attributes:
        store: orders, fills, the copy of the kill switch.
        traders: one for each active broker.
        market: prices, market time, and the kill switch as Redis shows it.
        instruments: today's.
        boot_clock: seconds since boot, suspension included.
        wall_clock: aware wall time.
        order_sent: told of a broker and the seconds from the decision to send until its answer was committed.
    """

    store: TradingStore
    traders: Mapping[str, Trader]
    market: ExecutionViews
    instruments: Instruments
    boot_clock: BootClock
    wall_clock: Callable[[], datetime]
    order_sent: Callable[[str, float], None] = no_latency

    def change(self, order: Order, events: Sequence[OrderUpdate] = ()) -> OrderChange:
        """An order as it shall be stored, with what happened to it."""
        fills = [event.fill for event in events if isinstance(event, Filled)]
        now = self.wall_clock()
        return OrderChange(order, fills, [_event(order, event, now) for event in events])

    async def market_time(self) -> datetime | None:
        """Market time; None where it is unknown or the cache can't be read (rule 4)."""
        try:
            return (await self.market.view(())).market_time
        except (RedisError, OSError):
            return None

    async def market_and_states(
        self, orders: Collection[Order]
    ) -> tuple[MarketView, Mapping[str, TradingState]] | None:
        """Market time, the orders' prices, and the brokers' kill switches; None while the cache can't be read."""
        tokens = sorted({order.instrument_token for order in orders})
        brokers = sorted({order.key.broker for order in orders})
        try:
            return await self.market.view_with_states(tokens, brokers)
        except (RedisError, OSError):
            return None


UNREADABLE: Final[tuple[MarketView, Mapping[str, TradingState]]] = (NOTHING_KNOWN, {})
"""What is known of the market and the kill switches while the cache can't be read."""


class OptIns:
    """The brokers that each strategy opted in to, as the control topic last said; the newest revision counts."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, tuple[str, ...]]] = {}

    async def learn(self, event: Event) -> None:
        """Applies a StrategyChanged; an older revision than the one known changes nothing."""
        changed = event.strategy_changed
        if changed.revision > self._known.get(changed.strategy_id, (0, ()))[0]:
            self._known[changed.strategy_id] = (changed.revision, tuple(changed.brokers))

    def __call__(self, strategy_id: str) -> Collection[str]:
        """The brokers a strategy opted in to; none where it isn't known."""
        return self._known.get(strategy_id, (0, ()))[1]


async def locked_order(transaction: TradingTransaction, order_id: str) -> Order:
    """An order, locked.

    Raises:
        LookupError: there is none.
    """
    order = await transaction.locked(order_id)
    if order is None:
        raise LookupError(f"there is no order {order_id}")
    return order


def reported(
    order: Order, intent: Intent, report: BrokerOrder, market_time: datetime | None
) -> list[OrderUpdate]:
    """What a broker's report changes. One that can't be true changes nothing and is for a person to look at."""
    try:
        return order.report(intent, report, market_time)
    except ImpossibleReport as impossible:
        _log.error("order.report_impossible", order_id=order.order_id, error=str(impossible))
        return []


def _event(order: Order, update: OrderUpdate, wall_time: datetime) -> Event:
    """Its id by the order's revision, caused by the verdict."""
    return order_event(
        update,
        event_id=event_id_of(order.order_id, update.order.revision),
        correlation_id=order.correlation_id,
        causation_id=order.causation_id,
        source=PRODUCER,
        occurred_at=wall_time,
    )
