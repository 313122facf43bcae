"""Decides whether the next intent of an order is sent now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from alphapanda.domain.market import MarketView
from alphapanda.domain.order import TradingState
from alphapanda.trading.core.checks import Circumstances, NotSent, PreSubmitChecks
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.execution_context import UNREADABLE, ExecutionContext
from alphapanda.trading.store.port import OrderChange, SwitchScope, TradingTransaction
from alphapanda.trading.traders.trader import ExecutionMode, Placement

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known before a transaction that decides.

    Attributes:
        market: market time and prices; None while the cache can't be read.
        states: the brokers' kill switches as they are shown; a missing one is REDUCING.
        began: boot time.
    """

    market: MarketView | None
    states: Mapping[str, TradingState]
    began: float


@dataclass(frozen=True, slots=True)
class Call:
    """A broker call that is to be made once its intent is committed as SUBMITTING.

    Attributes:
        order: as it is stored then.
        intent: of the order.
        placement: what is sent.
        began: boot time read before the commit.
        market_time: read before the commit; None where unknown.
    """

    order: Order
    intent: Intent
    placement: Placement
    began: float
    market_time: datetime | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about an order: the change to be stored, and the call to be made then; None where it ended."""

    change: OrderChange
    call: Call | None


class Decisions:
    """Decides on orders, several at once.

    Args:
        context: what it works with.
        checks: the checks before sending.
    """

    def __init__(self, context: ExecutionContext, checks: PreSubmitChecks) -> None:
        self._with = context
        self._checks = checks

    async def read(self, orders: Sequence[Order]) -> Reading:
        """What is known now of the orders' markets; asked outside of every transaction (rule 14)."""
        found = await self._with.market_and_states(orders) if orders else UNREADABLE
        market, states = found or (None, {})
        return Reading(market, states, self._with.boot_clock())

    async def decide(
        self, transaction: TradingTransaction, attempts: Sequence[tuple[Order, int]], known: Reading
    ) -> list[Decision | None]:
        """Decides on each order, whose next intent is PENDING_SUBMIT, and changes it; the kill switches stay held.

        Args:
            transaction: which is to store the decisions.
            attempts: orders, each with the number that its intent gets where it is to be sent.
            known: about them.

        Returns:
            A decision for each; None for one that has to wait: a paper exit while the price cache can't be read.
        """
        if not attempts:
            return []
        scopes = {SwitchScope(order.key.broker, order.key.strategy_id) for order, _ in attempts}
        copies = await transaction.kill_switches(scopes)
        decisions = []
        for order, attempt in attempts:
            own = copies[SwitchScope(order.key.broker, order.key.strategy_id)].state
            shown = known.states.get(order.key.broker, TradingState.REDUCING)
            decisions.append(await self._decide(transaction, order, known, max(own, shown), attempt))
        return decisions

    async def _decide(
        self,
        transaction: TradingTransaction,
        order: Order,
        known: Reading,
        state: TradingState,
        attempt: int,
    ) -> Decision | None:
        simulated = self._with.traders[order.key.broker].get_execution_mode() is ExecutionMode.PAPER
        if known.market is None and simulated and not order.effect.is_entry:
            return None
        market = known.market or UNREADABLE[0]
        instrument = self._with.instruments().by_id(order.key.instrument_id)
        late = market.market_time is not None and market.market_time > order.valid_until
        at = Circumstances(
            instrument=instrument,
            market=market,
            position=await transaction.position(order.key) if late and not order.effect.is_entry else 0,
            state=state,
            simulated=simulated,
        )
        verdict = self._checks.judge(order, at)
        if isinstance(verdict, NotSent):
            events = order.not_sent(verdict.reason, verdict.message, market.market_time)
            _log.info(
                "order.not_sent",
                order_id=order.order_id,
                broker=order.key.broker,
                reason=verdict.reason.name,
                message=verdict.message,
            )
            return Decision(self._with.change(order, events), None)
        if instrument is None:  # the checks refuse what isn't known
            raise LookupError(f"order {order.order_id} passed its checks without an instrument")
        order.send_as(verdict.parts)
        intent = order.submitting(attempt)
        placement = Placement(
            account=order.key.account,
            tag=intent.tag,
            instrument=instrument,
            instrument_token=order.instrument_token,
            side=order.side,
            quantity=intent.quantity,
            product=order.key.product,
            order_type=order.order_type,
        )
        call = Call(order, intent, placement, known.began, market.market_time)
        return Decision(self._with.change(order), call)
