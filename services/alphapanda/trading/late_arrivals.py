"""Looks up absent intents for a day: a broker order that shows up late is adopted, with an alarm (rule 2)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from alphapanda.resilience.rounds import Rounds
from alphapanda.trading.core.broker_order import BrokerOrder
from alphapanda.trading.core.intent import ImpossibleReport
from alphapanda.trading.core.late_arrival import adopt, has_ended, is_absent
from alphapanda.trading.execution_context import ExecutionContext, locked_order
from alphapanda.trading.store.port import AbsentIntent
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer

WATCHED_FOR = timedelta(days=1)
"""Wall time since the order was made; a broker's order book covers one day."""

_log = structlog.get_logger(__name__)


class LateArrivals:
    """Looks up absent intents at an interval. If several processes do so, each order is still adopted once.

    Args:
        context: store, traders, market and clocks.
        call_timeout_seconds: timeout of one look-up.
        interval: seconds between two rounds.

    Attributes:
        rounds: runs `look` at the interval; the owner starts and stops it.
    """

    def __init__(
        self,
        context: ExecutionContext,
        call_timeout_seconds: float,
        interval: float = 30.0,
    ) -> None:
        self._context = context
        self._call_timeout = call_timeout_seconds
        self.rounds = Rounds("late arrivals", self.look, interval, _log)

    async def look(self) -> None:
        """Looks up every absent intent once."""
        since = self._context.wall_clock() - WATCHED_FOR
        for intent in await self._context.store.absent_intents(since):
            trader = self._context.traders.get(intent.broker)
            if trader is None or trader.get_execution_mode() is ExecutionMode.OFF:
                continue
            try:
                async with asyncio.timeout(self._call_timeout):
                    report = await trader.look_up(intent.account, intent.tag)
            except (TimeoutError, NoClearAnswer) as unclear:
                _log.warning(
                    "order.look_up_failed", order_id=intent.order_id, tag=intent.tag, error=repr(unclear)
                )
                continue
            if report is not None:
                await self._arrived(intent, report)

    async def _arrived(self, late: AbsentIntent, report: BrokerOrder) -> None:
        market_time = await self._context.market_time()
        async with self._context.store.transaction() as transaction:
            order = await locked_order(transaction, late.order_id)
            intent = order.intents[late.number]
            if not is_absent(intent):
                return
            _log.error(
                "order.arrived_late",
                alarm=True,
                order_id=late.order_id,
                tag=late.tag,
                broker_order_id=report.broker_order_id,
                status=report.status.value,
            )
            if not has_ended(intent, report):
                return  # adopted once the broker order has ended
            if report.fills:
                position = await transaction.position(order.key)
                try:
                    adopted, events = adopt(order, intent, report, position, market_time)
                except ImpossibleReport as impossible:
                    _log.error("order.report_impossible", order_id=late.order_id, error=str(impossible))
                    return
                await transaction.add([self._context.change(adopted, events)])
            intent.broker_order_id = report.broker_order_id
            await transaction.save([self._context.change(order)])
