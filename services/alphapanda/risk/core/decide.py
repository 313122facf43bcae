"""From a signal and a position to verdicts. Everything here returns new values; nothing is changed in place."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from alphapanda.domain.money import ZERO
from alphapanda.domain.order import PositionEffect, Product, Side
from alphapanda.domain.order_events import Fill, OrderState
from alphapanda.domain.signal import Signal
from alphapanda.domain.verdict import Approved, Refused, RuleOutcome, RuleResult, Verdict
from alphapanda.risk.core.check import AccountView, Check, Inputs, Rule
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.position import (
    OrderProgress,
    PositionState,
    TradeHistory,
    is_square_off,
    moved,
    progressed,
    request_of,
)
from alphapanda.risk.core.rules import in_force, product


class Decision(Struct, frozen=True):
    """What came of an input.

    Attributes:
        state: the position afterwards.
        verdicts: given now, in order; at most one a signal, over all decisions together.
    """

    state: PositionState
    verdicts: tuple[Verdict, ...] = ()


class Applied(Struct, frozen=True):
    """What an order event changed.

    Attributes:
        state: the position afterwards.
        order: the order; None where the event was old news.
        gained: rupees that its fills realised, before charges.
        unfilled: True where an order that was let through ended without a fill.
        freed: the target whose turn has come, None where none waited.
    """

    state: PositionState
    order: OrderProgress | None = None
    gained: Decimal = ZERO
    unfilled: bool = False
    freed: Signal | None = None


def decide(
    state: PositionState, signal: Signal, inputs: Inputs, limits: Limits, account: AccountView
) -> Decision:
    """Judges a signal that has no verdict yet. A target waits while an order is open under its key.

    Args:
        state: the position it is about.
        signal: it.
        inputs: market, calendar, switches, strategies' statuses.
        limits: those for the position.
        account: the rest of the account.

    Raises:
        StrategyRevisionUnknown: its strategy's revision isn't known yet; nothing was decided.
    """
    if inputs.unknown_positions and _unknown(signal, inputs):
        message = "records of this position are parked behind a bug, so what is held isn't known"
        return Decision(state, (refused(signal, inputs, "POSITION_UNKNOWN", message),))
    if state.open is None:
        return _judge(state, signal, inputs, limits, account)
    if signal.target is None:
        message = f"order of signal {state.open.signal_id} is still open under this position"
        return Decision(state, (refused(signal, inputs, "OPEN_ORDER", message),))
    older = state.waiting
    if older is None:
        return Decision(replace(state, waiting=signal))
    if is_square_off(older):
        message = "the position is being squared off"
        return Decision(state, (refused(signal, inputs, "SUPERSEDED", message),))
    message = f"signal {signal.signal_id} came while this one waited for an open order"
    return Decision(replace(state, waiting=signal), (refused(older, inputs, "SUPERSEDED", message),))


def apply_order(
    state: PositionState,
    before: OrderProgress | None,
    order: OrderState,
    fill: Fill | None,
    inputs: Inputs,
    *,
    priced: bool,
) -> Applied:
    """Takes in an order event: fills once, by the highest revision; the end of the open order frees the key.

    Args:
        state: the position the order moves.
        before: the order as known; None where risk never let it through (it moves the position all the same).
        order: as it stands now.
        fill: the one that this event tells of; None where it tells of none.
        inputs: calendar, and the market's time where the event doesn't have it.
        priced: False where nobody reads what fills were worth.
    """
    after = progressed(before, order, fill, priced=priced)
    if after is None:
        return Applied(state)
    filled, value = (before.filled, before.value) if before is not None else (0, ZERO)
    sign, at = order.side.sign, order.market_time or inputs.market.market_time
    if state.history.losses and at is not None:
        state = _without_old_losses(state, at, inputs)
    worth = sign * (after.value - value) if priced else None
    state, gained = moved(state, sign * (order.filled - filled), worth, at)
    if state.open is None or state.open.signal_id != order.signal_id:
        return Applied(state, after, gained)
    if not after.final:
        open_still = PositionState(
            state.key, state.quantity, state.opened_at, after, state.waiting, state.history
        )
        return Applied(open_still, after, gained)
    unfilled = after.filled == 0
    freed = PositionState(state.key, state.quantity, state.opened_at, None, None, state.history)
    return Applied(freed, after, gained, unfilled, state.waiting)


def refused(
    signal: Signal,
    inputs: Inputs,
    reason: str,
    message: str,
    rules: tuple[RuleResult, ...] = (),
    largest_quantity: int = 0,
) -> Refused:
    """A refusal; without `rules`, none of those in force was asked."""
    return Refused(
        signal.signal_id,
        signal.correlation_id,
        signal.key,
        signal.instrument_token,
        signal.config_revision,
        reason,
        message,
        inputs.market.market_time,
        rules or in_force(inputs.limits_for(signal.key)).not_asked,
        largest_quantity,
    )


def _unknown(signal: Signal, inputs: Inputs) -> bool:
    return (signal.key.strategy_id, signal.instrument_token) in inputs.unknown_positions


def _judge(
    state: PositionState, signal: Signal, inputs: Inputs, limits: Limits, account: AccountView
) -> Decision:
    """Judges a signal of a position without an open order."""
    delta = _delta(signal, state.quantity)
    if delta == 0 or (_short_delivery(signal) and state.quantity == 0):
        return Decision(state, (_held(signal, state.quantity, inputs),))
    asked = in_force(limits).rules
    check, rules, failed = _judged(
        asked,
        Check(
            signal,
            Side.of(delta),
            abs(delta),
            PositionEffect.of(state.quantity, delta),
            state.quantity,
            inputs.instruments.by_id(signal.key.instrument_id),
            inputs,
            limits,
            state,
            account,
        ),
    )
    if failed is not None:
        at = rules.index(failed)
        reason, most = asked[at].reason, _largest_quantity(asked, check, rules)
        return Decision(state, (refused(signal, inputs, reason, failed.message, rules, most),))
    approved = Approved(
        signal.signal_id,
        signal.correlation_id,
        signal.key,
        signal.instrument_token,
        signal.config_revision,
        check.side,
        check.quantity,
        signal.order_type,
        check.effect,
        signal.valid_until,
        inputs.market.market_time,
        rules,
    )
    order = OrderProgress(signal.signal_id, signal.key, check.side, check.quantity)
    history = state.history
    if account.keeps_accounts:
        history = TradeHistory(
            history.cost,
            history.round_trip,
            history.losses,
            history.lost_at,
            request_of(signal),
            inputs.market.market_time,
        )
    opened = PositionState(state.key, state.quantity, state.opened_at, order, state.waiting, history)
    return Decision(opened, (approved,))


def _largest_quantity(asked: tuple[Rule, ...], check: Check, results: tuple[RuleResult, ...]) -> int:
    """The most units, in whole lots, with which a refused order would have passed every rule; 0 where none would.

    A rule that let the order through lets a smaller one through as well, so only those that failed are asked.
    """
    most = check.quantity
    for rule, result in zip(asked, results, strict=True):
        if result.outcome is RuleOutcome.FAILED:
            most = min(most, rule.most(check)) if rule.most is not None else 0
    lot = check.instrument.lot_size if check.instrument else 1
    return most // lot * lot


def _without_old_losses(state: PositionState, at: datetime, inputs: Inputs) -> PositionState:
    """A row of losses ends with the exchange's day."""
    lost_at, day_of = state.history.lost_at, inputs.calendar.trading_day
    if lost_at is not None and day_of(lost_at) == day_of(at):
        return state
    return replace(state, history=replace(state.history, losses=0, lost_at=None))


def _judged(asked: tuple[Rule, ...], check: Check) -> tuple[Check, tuple[RuleResult, ...], RuleResult | None]:
    """Asks the rules. One that cuts a flip to flat shows the others the cut order, those before it once more.

    Returns:
        The order as cut, what each rule said, and the first that refused it.
    """
    results: list[RuleResult] = []
    passed, unmoved = RuleOutcome.PASSED, True
    for rule in asked:
        result = rule.judge(check)
        if result.outcome is not passed:
            unmoved = False
            if result.outcome is RuleOutcome.CLAMPED:
                check = check.cut_to_flat()
                results = [earlier.judge(check) for earlier in asked[: len(results)]]
        results.append(result)
    if unmoved:
        return check, tuple(results), None
    failed = (result for result in results if result.outcome is RuleOutcome.FAILED)
    return check, tuple(results), next(failed, None)


def _delta(signal: Signal, position: int) -> int:
    if signal.target is not None:
        return signal.target - position
    if signal.side is None or signal.quantity is None:
        raise ValueError(f"signal {signal.signal_id} has neither a target nor an order")
    return signal.side.sign * signal.quantity


def _short_delivery(signal: Signal) -> bool:
    return signal.key.product is Product.CNC and signal.target is not None and signal.target < 0


def _held(signal: Signal, position: int, inputs: Inputs) -> Refused:
    """The target is held already; in CNC a short target is one to be flat."""
    message = f"the position is {position} already"
    if not _short_delivery(signal):
        return refused(signal, inputs, "ALREADY_AT_TARGET", message)
    cut = RuleResult(
        product.NAME,
        RuleOutcome.CLAMPED,
        "CNC >= 0",
        str(signal.target),
        "CNC is never short; the target is cut to 0",
    )
    not_asked = in_force(inputs.limits_for(signal.key)).not_asked
    rules = tuple(cut if rule.rule == product.NAME else rule for rule in not_asked)
    return refused(signal, inputs, "ALREADY_AT_TARGET", f"{message}, and CNC is never short", rules)
