"""Watches what was given up as absent: a broker order that shows up after all is adopted, and an alarm says so (rule 2)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from alphapanda.resilience.rounds import Rounds
from alphapanda.trading.core.broker_order import BrokerOrder
from alphapanda.trading.core.intent import ImpossibleReport
from alphapanda.trading.core.late_arrival import adopt, given_up, has_ended
from alphapanda.trading.store.port import GivenUp
from alphapanda.trading.surroundings import Surroundings, locked_order
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer

WATCHED_FOR = timedelta(days=1)
"""Wall time; a broker's order book is that of a day."""

_log = structlog.get_logger(__name__)


class LateArrivals:
    """Looks again, slowly, for intents that ended as absent. Two processes that do so adopt an order once.

    Args:
        surroundings: what it works with.
        call_timeout_seconds: of one look-up.
        interval: seconds between two rounds.

    Attributes:
        rounds: look again; they are started and stopped.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        call_timeout_seconds: float,
        interval: float = 30.0,
    ) -> None:
        self._with = surroundings
        self._call_timeout = call_timeout_seconds
        self.rounds = Rounds("late arrivals", self.look, interval, _log)

    async def look(self) -> None:
        """One round."""
        since = self._with.wall_clock() - WATCHED_FOR
        for intent in await self._with.store.given_up(since):
            trader = self._with.traders.get(intent.broker)
            if trader is None or trader.get_execution_mode() is ExecutionMode.OFF:
                continue
            try:
                async with asyncio.timeout(self._call_timeout):
                    told = await trader.look_up(intent.account, intent.tag)
            except (TimeoutError, NoClearAnswer) as unclear:
                _log.warning("look-up failed", order_id=intent.order_id, tag=intent.tag, error=repr(unclear))
                continue
            if told is not None:
                await self._arrived(intent, told)

    async def _arrived(self, late: GivenUp, told: BrokerOrder) -> None:
        market = await self._with.market_now(None, may_be_unknown=True)
        async with self._with.store.transaction() as transaction:
            order = await locked_order(transaction, late.order_id)
            intent = order.intents[late.number]
            if not given_up(intent):
                return
            _log.error(
                "an order given up as absent is at the broker",
                alarm=True,
                order_id=late.order_id,
                tag=late.tag,
                broker_order_id=told.broker_order_id,
                status=told.status.value,
            )
            if not has_ended(intent, told):
                return  # adopted once the broker is done with it
            if told.fills:
                position = await transaction.position(order.key)
                try:
                    adopted, happenings = adopt(order, intent, told, position, market.market_time)
                except ImpossibleReport as impossible:
                    _log.error(
                        "the broker's report can't be true", order_id=late.order_id, error=str(impossible)
                    )
                    return
                await transaction.add(adopted)
                await self._with.publish(transaction, adopted, happenings)
            intent.broker_order_id = told.broker_order_id
            await transaction.save(order)
