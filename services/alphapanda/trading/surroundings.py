"""What orders are executed with, and the few things that whoever works on an order does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from redis.exceptions import RedisError

from alphapanda.domain.market import NOTHING_KNOWN, MarketView
from alphapanda.domain.order_events import Filled, OrderHappening
from alphapanda.resilience.failures import TransientFailure
from alphapanda.storage.price_cache import MarketViews
from alphapanda.trading.core.broker_order import BrokerOrder
from alphapanda.trading.core.intent import ImpossibleReport, Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.events import order_events
from alphapanda.trading.ports import BootClock, Instruments, KillSwitchShown
from alphapanda.trading.store.port import TradingStore, TradingTransaction
from alphapanda.trading.traders.trader import Trader

_log = structlog.get_logger(__name__)


def nobody_counts(_broker: str, _seconds: float) -> None:
    """Nobody wants to know how long orders take."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What orders are executed with.

    Attributes:
        store: orders, fills, the copy of the kill switch.
        traders: one for each active broker.
        market: prices and market time.
        mirror: the kill switch as Redis shows it.
        instruments: today's.
        boot_clock: seconds since boot, suspension included.
        wall_clock: aware wall time.
        order_sent: told of a broker and the seconds from the decision to send until its answer was committed.
    """

    store: TradingStore
    traders: Mapping[str, Trader]
    market: MarketViews
    mirror: KillSwitchShown
    instruments: Instruments
    boot_clock: BootClock
    wall_clock: Callable[[], datetime]
    order_sent: Callable[[str, float], None] = nobody_counts

    async def publish(
        self, transaction: TradingTransaction, order: Order, happenings: Sequence[OrderHappening]
    ) -> None:
        """Stores a locked order with what happened to it, and the events that say so."""
        fills = [happening.fill for happening in happenings if isinstance(happening, Filled)]
        await transaction.save(order, fills)
        await transaction.publish(order_events(order, happenings, self.wall_clock()))

    async def market_now(self, order: Order | None, *, may_be_unknown: bool) -> MarketView:
        """Market time, and the price of an order. While the cache can't be read both are unknown (rule 4).

        Raises:
            TransientFailure: the cache can't be read, and the order is one that neither may fail nor goes without.
        """
        try:
            return await self.market.view((order.instrument_token,) if order else ())
        except (RedisError, OSError) as away:
            if not may_be_unknown:
                raise TransientFailure("the price cache can't be read; a paper exit waits for it") from away
            return NOTHING_KNOWN


async def locked_order(transaction: TradingTransaction, order_id: str) -> Order:
    """An order, locked."""
    order = await transaction.locked(order_id)
    if order is None:
        raise LookupError(f"there is no order {order_id}")
    return order


def reported(
    order: Order, intent: Intent, told: BrokerOrder, market_time: datetime | None
) -> list[OrderHappening]:
    """What a report changes. One that can't be true changes nothing and is for a person to look at."""
    try:
        return order.report(intent, told, market_time)
    except ImpossibleReport as impossible:
        _log.error("the broker's report can't be true", order_id=order.order_id, error=str(impossible))
        return []
