"""Looks up intents of which the broker may yet tell more than it did (rule 2), with an alarm where it does.

A broker order of an absent intent that shows up late is adopted. A trade of an order that has ended is booked.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line
from alphapanda.resilience.rounds import Rounds
from alphapanda.trading.core.intent import ImpossibleReport, Intent
from alphapanda.trading.core.late_arrival import (
    adopt,
    adopted_id,
    call_of,
    has_ended,
    is_absent,
    is_all,
)
from alphapanda.trading.core.order import Order
from alphapanda.trading.execution_context import ExecutionContext, locked_order, reported
from alphapanda.trading.store.port import EndedIntent, TradingTransaction
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer, Trader

WATCHED_FOR = timedelta(days=1)
"""Wall time since the order was made; a broker's order book covers one day."""
LATE_TRADES_SECONDS = 600.0
"""Seconds after it was first seen here for which an intent that ended short is looked up for more trades."""

_MOST_UNANSWERED = 3
"""Look-ups without an answer in a row, after which a broker isn't asked again in this round."""

_log = structlog.get_logger(__name__)


class LateArrivals:
    """Looks up absent intents, and those that ended short, at an interval.

    If several processes do so, each order is still adopted once, and each trade booked once.

    Args:
        context: store, traders, market and clocks.
        interval: seconds between two rounds.

    Attributes:
        rounds: runs `look` at the interval; the owner starts and stops it.
    """

    def __init__(
        self,
        context: ExecutionContext,
        interval: float = 30.0,
    ) -> None:
        self._context = context
        self._unanswered: set[str] = set()
        self._first_seen: dict[str, float] = {}
        self._alarmed: set[str] = set()
        self.rounds = Rounds("late arrivals", self.look, interval, _log)

    async def look(self) -> None:
        """Looks up every such intent once, broker by broker at the same time.

        Raises:
            ExceptionGroup: the failures of brokers; the other brokers' intents were looked up.
        """
        since = self._context.wall_clock() - WATCHED_FOR
        by_broker: defaultdict[str, list[EndedIntent]] = defaultdict(list)
        absent = await self._context.store.absent_intents(since)
        self._alarmed &= {intent.tag for intent in absent}
        for intent in [*absent, *await self._ended_short(since)]:
            trader = self._context.traders.get(intent.broker)
            if trader is not None and trader.get_execution_mode() is not ExecutionMode.OFF:
                by_broker[intent.broker].append(intent)
        self._unanswered &= {intent.tag for intents in by_broker.values() for intent in intents}
        errors = await asyncio.gather(
            *(
                attempted(self._look_at(self._context.traders[broker], intents))
                for broker, intents in by_broker.items()
            )
        )
        if failed := [error for error in errors if error is not None]:
            raise ExceptionGroup("late arrivals could not be looked up", failed)

    async def _ended_short(self, since: datetime) -> list[EndedIntent]:
        """The intents that ended short and are still looked up."""
        found = await self._context.store.intents_ended_short(since)
        now = self._context.boot_clock()
        self._first_seen = {one.tag: self._first_seen.get(one.tag, now) for one in found}
        return [one for one in found if now - self._first_seen[one.tag] <= LATE_TRADES_SECONDS]

    async def _look_at(self, trader: Trader, intents: Sequence[EndedIntent]) -> None:
        """Looks up a broker's intents; after a few that it didn't answer in a row, the rest waits for the next round.

        What it didn't answer in the last round is asked last, so that nothing waits for ever.
        """
        unanswered = 0
        for intent in sorted(intents, key=lambda one: one.tag in self._unanswered):
            if unanswered == _MOST_UNANSWERED:
                return
            try:
                report = await trader.look_up(intent.account, intent.tag)
            except NoClearAnswer as unclear:
                unanswered += 1
                self._unanswered.add(intent.tag)
                _log.warning(
                    "order.look_up_failed",
                    order_id=intent.order_id,
                    broker=intent.broker,
                    tag=intent.tag,
                    error=in_one_line(unclear),
                )
                continue
            unanswered = 0
            self._unanswered.discard(intent.tag)
            if report is not None:
                await self._arrived(intent, report)

    async def _arrived(self, late: EndedIntent, report: BrokerOrder) -> None:
        market_time = await self._context.market_time()
        async with self._context.store.transaction() as transaction:
            order = await locked_order(transaction, late.order_id)
            intent = order.intents[late.number]
            if intent.ended_short:
                if updates := reported(order, intent, report, market_time):
                    await transaction.save([self._context.change(order, updates)])
            elif is_absent(intent):
                await self._adopt(transaction, order, intent, report, market_time)

    async def _adopt(
        self,
        transaction: TradingTransaction,
        order: Order,
        intent: Intent,
        report: BrokerOrder,
        market_time: datetime | None,
    ) -> None:
        """Adopts the broker order of an absent intent once it has ended; books what comes of it later."""
        if adopted := await transaction.locked(adopted_id(intent)):
            if updates := reported(adopted, call_of(adopted, intent), report, market_time):
                await transaction.save([self._context.change(adopted, updates)])
        else:
            if intent.tag not in self._alarmed:
                self._alarmed.add(intent.tag)
                _log.error(
                    "order.arrived_late",
                    alarm=True,
                    order_id=order.order_id,
                    tag=intent.tag,
                    broker_order_id=report.broker_order_id,
                    status=report.status.value,
                )
            if not has_ended(intent, report):
                return
            if report.fills:
                position = await transaction.position(order.key)
                try:
                    adopted, events = adopt(order, intent, report, position, market_time)
                except ImpossibleReport as impossible:
                    _log.error("order.report_impossible", order_id=order.order_id, error=str(impossible))
                    return
                await transaction.add([self._context.change(adopted, events)])
        if is_all(intent, report):
            intent.broker_order_id = report.broker_order_id
            await transaction.save([self._context.change(order)])
