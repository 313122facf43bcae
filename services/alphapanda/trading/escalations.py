"""Escalates exits at live brokers that were sent at the market and rest all the same, and raises an alarm where nothing is left to try."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from alphapanda.domain.order import OrderStatus
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line
from alphapanda.resilience.rounds import Rounds
from alphapanda.trading.core.escalation import escalates
from alphapanda.trading.core.order import Order
from alphapanda.trading.execution_context import ExecutionContext
from alphapanda.trading.store.port import OrderFilter
from alphapanda.trading.traders.trader import (
    BrokerRefused,
    ExecutionMode,
    NoClearAnswer,
    Repricing,
    Trader,
)

ROUND_SECONDS: Final = 1.0
MOST_ORDERS: Final = 500
"""Working orders of a broker that are looked at, the newest ones."""
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Resting:
    """An exit that rests: since when (boot seconds) at its present price, how many steps it has gone, whether it is locked."""

    since: float
    step: int = 0
    locked: bool = False


class Escalations:
    """Looks for resting exits at an interval. Where it begins anew after a restart, a step that was gone is passed over by its price.

    Args:
        context: store, traders and clocks.
        after_seconds: how long an exit rests at a price before the next one is tried.
        interval: seconds between two rounds.

    Attributes:
        rounds: runs `look` at the interval; the owner starts and stops it.
    """

    def __init__(
        self, context: ExecutionContext, after_seconds: float, interval: float = ROUND_SECONDS
    ) -> None:
        self._context = context
        self._after = after_seconds
        self._resting: dict[str, _Resting] = {}
        self.rounds = Rounds("escalations", self.look, interval, _log)

    async def look(self) -> None:
        """Escalates what has rested for too long, the brokers at the same time.

        Raises:
            ExceptionGroup: the failures of brokers; the other brokers' orders were looked at.
        """
        live = [
            trader
            for trader in self._context.traders.values()
            if trader.get_execution_mode() is ExecutionMode.LIVE
        ]
        found: set[str] = set()
        errors = await asyncio.gather(*(attempted(self._look_at(trader, found)) for trader in live))
        if failed := [error for error in errors if error is not None]:
            raise ExceptionGroup("resting exits could not be escalated", failed)
        self._resting = {order_id: one for order_id, one in self._resting.items() if order_id in found}

    async def _look_at(self, trader: Trader, found: set[str]) -> None:
        wanted = OrderFilter(trader.broker, statuses=(OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED))
        for stored in await self._context.store.newest(wanted, None, MOST_ORDERS):
            order = stored.order
            if not escalates(order):
                continue
            found.add(order.order_id)
            now = self._context.boot_clock()
            resting = self._resting.setdefault(order.order_id, _Resting(now))
            if now - resting.since >= self._after and not resting.locked:
                await self._escalate(trader, order, resting)

    async def _escalate(self, trader: Trader, order: Order, resting: _Resting) -> None:
        instrument = self._context.instruments().by_id(order.key.instrument_id)
        intent = order.current
        if instrument is None or intent is None:
            return
        named = {
            "broker": trader.broker,
            "account": order.key.account,
            "strategy_id": order.key.strategy_id,
            "instrument_id": order.key.instrument_id,
            "order_id": order.order_id,
            "tag": intent.tag,
        }
        try:
            repriced = await trader.reprice(
                Repricing(order.key.account, intent.tag, instrument, order.side, resting.step)
            )
        except (BrokerRefused, NoClearAnswer) as failed:
            _log.warning("order.escalation_failed", error=in_one_line(failed), **named)
            return
        if repriced is None:
            return
        resting.since, resting.step = self._context.boot_clock(), resting.step + 1
        if repriced.locked:
            resting.locked = True
            _log.error(
                "order.locked",
                alarm=True,
                price=str(repriced.price),
                leaves=order.leaves,
                message="locked, cannot exit: it rests at the circuit and nobody is there to trade with",
                **named,
            )
        else:
            _log.warning("order.escalated", price=str(repriced.price), step=resting.step, **named)
