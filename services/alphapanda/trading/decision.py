"""Decides whether the next intent of an order is sent now, and prepares its broker call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from alphapanda.domain.market import MarketView
from alphapanda.domain.order import FailureReason, TradingState
from alphapanda.trading.core.checks import CheckInputs, NotSent, PreSubmitChecks
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.execution_context import UNREADABLE, ExecutionContext
from alphapanda.trading.store.port import (
    KillSwitchCopy,
    OrderChange,
    SwitchInForce,
    SwitchScope,
    TradingTransaction,
    strictest,
)
from alphapanda.trading.traders.trader import ExecutionMode, Placement

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DecisionInputs:
    """Inputs of a decision that are read before its transaction.

    Attributes:
        market: market time and prices; None while the price cache can't be read.
        states: each broker's kill switch in Redis; a missing one counts as REDUCING.
        began: boot time of the reading, seconds.
    """

    market: MarketView | None
    states: Mapping[str, TradingState]
    began: float


@dataclass(frozen=True, slots=True)
class Call:
    """A broker call to make once its intent is committed as SUBMITTING.

    Attributes:
        order: the order as it is stored then.
        intent: the order's intent to send.
        placement: the parameters of the call.
        began: boot time read before the commit, seconds; the send window begins here.
        market_time: read before the commit; None where unknown.
    """

    order: Order
    intent: Intent
    placement: Placement
    began: float
    market_time: datetime | None


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision on an order: the change to store, and the broker call to make then; no call where the order ended."""

    change: OrderChange
    call: Call | None


class Decisions:
    """Decides orders, several in one transaction.

    Args:
        context: store, traders, market and clocks.
        checks: the checks before sending.
    """

    def __init__(self, context: ExecutionContext, checks: PreSubmitChecks) -> None:
        self._context = context
        self._checks = checks

    async def read(self, orders: Sequence[Order]) -> DecisionInputs:
        """Reads the orders' prices, market time and kill switches from Redis; call it outside transactions (rule 14)."""
        found = await self._context.market_and_states(orders) if orders else UNREADABLE
        market, states = found or (None, {})
        return DecisionInputs(market, states, self._context.boot_clock())

    async def decide(
        self, transaction: TradingTransaction, attempts: Sequence[tuple[Order, int]], known: DecisionInputs
    ) -> list[Decision | None]:
        """Decides orders whose next intent is PENDING_SUBMIT, and changes them; the kill switches stay locked.

        Args:
            transaction: the one that will store the decisions.
            attempts: orders, each with the attempt number that its intent gets if it is sent.
            known: the inputs read before the transaction.

        Returns:
            A decision for each order; None for a paper exit that has to wait because the price cache can't be read, and
            for any exit whose broker isn't ready.
        """
        if not attempts:
            return []
        copies = await transaction.kill_switches({_scope(order) for order, _ in attempts})
        held = {
            order.key: await transaction.position(order.key)
            for order, _ in attempts
            if _is_late_exit(order, known)
        }
        return [
            self._decide(order, known, copies[_scope(order)], held.get(order.key, 0), attempt)
            for order, attempt in attempts
        ]

    def switches_last_read(
        self, orders: Sequence[Order], known: DecisionInputs
    ) -> Mapping[SwitchScope, KillSwitchCopy] | None:
        """The kill switches to decide these orders by without a transaction; None where the decision has to read more."""
        if any(_is_late_exit(order, known) for order in orders):
            return None
        return self._context.store.switches_last_read({_scope(order) for order in orders})

    def decide_by(
        self,
        switches: Mapping[SwitchScope, KillSwitchCopy],
        attempts: Sequence[tuple[Order, int]],
        known: DecisionInputs,
    ) -> list[Decision | None]:
        """Decides like `decide`, by the result of `switches_last_read`; stored only if these have not changed."""
        copies = strictest({_scope(order) for order, _ in attempts}, switches)
        return [self._decide(order, known, copies[_scope(order)], 0, attempt) for order, attempt in attempts]

    def _decide(
        self, order: Order, known: DecisionInputs, own: SwitchInForce, held: int, attempt: int
    ) -> Decision | None:
        """Decides an order. `own`: trading's copy of its kill switch; `held`: units of its position, read for a late exit."""
        trader = self._context.traders[order.key.broker]
        simulated = trader.get_execution_mode() is ExecutionMode.PAPER
        not_ready = trader.not_ready_for(order.key.account)
        if not order.effect.is_entry and (not_ready or (known.market is None and simulated)):
            return None
        market = known.market or UNREADABLE[0]
        instrument = self._context.instruments().by_id(order.key.instrument_id)
        shown = known.states.get(order.key.broker, TradingState.REDUCING)
        switch = own.or_stricter(order.key.broker, shown)
        at = CheckInputs(
            instrument=instrument,
            market=market,
            position=held,
            state=switch.state,
            simulated=simulated,
            not_ready=not_ready or trader.entries_halted(order.key.account),
            whose=switch.scope.words,
            freeze_quantity=None if instrument is None else trader.freeze_quantity(instrument),
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
            if verdict.reason is FailureReason.EXPIRED and not order.effect.is_entry:
                _log.error(
                    "order.exit_expired",
                    alarm=True,
                    order_id=order.order_id,
                    broker=order.key.broker,
                    account=order.key.account,
                    strategy_id=order.key.strategy_id,
                    instrument_id=order.key.instrument_id,
                    message=verdict.message,
                )
            return Decision(self._context.change(order, events), None)
        if instrument is None:  # the checks refuse an unknown instrument
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
            terms=order.terms,
            came_at=order.market_time,
            strategy_id=order.key.strategy_id,
            number=intent.number,
            is_exit=not order.effect.is_entry,
        )
        call = Call(order, intent, placement, known.began, market.market_time)
        return Decision(self._context.change(order), call)


def _scope(order: Order) -> SwitchScope:
    return SwitchScope(order.key.broker, order.key.strategy_id)


def _is_late_exit(order: Order, known: DecisionInputs) -> bool:
    """Whether it is an exit past its validity: it is checked again against the position."""
    if order.effect.is_entry or known.market is None or known.market.market_time is None:
        return False
    return known.market.market_time > order.valid_until
