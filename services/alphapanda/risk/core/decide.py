"""Decides a signal on a position, and applies an order event to it. Functions return new values and change nothing."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from alphapanda.domain.money import ZERO
from alphapanda.domain.order import PositionEffect, Product, Side
from alphapanda.domain.order_events import Fill, OrderState
from alphapanda.domain.signal import Signal
from alphapanda.domain.verdict import Approved, Refused, RuleOutcome, RuleResult, Verdict
from alphapanda.risk.core.check import AccountView, Check, Inputs, Rule
from alphapanda.risk.core.funds import blocked_by
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.position import (
    OrderProgress,
    PositionState,
    TradeHistory,
    after_adjustment,
    after_event,
    after_fill,
    is_square_off,
    request_of,
)
from alphapanda.risk.core.rules import in_force, product
from alphapanda.risk.core.sizing import REASON as SIZE
from alphapanda.risk.core.sizing import sized

_CNC: Final = Product.CNC
_PASSED: Final = RuleOutcome.PASSED
_side_of: Final = Side.of
_effect_of: Final = PositionEffect.of


class Decision(Struct, frozen=True, gc=False):
    """The result of a decision.

    Attributes:
        state: the position afterwards.
        verdicts: the new verdicts, in order; a signal gets at most one, over all decisions.
    """

    state: PositionState
    verdicts: tuple[Verdict, ...] = ()


class Applied(Struct, frozen=True, gc=False):
    """The result of an order event.

    Attributes:
        state: the position afterwards.
        order: the order afterwards; None if the event was applied before, or a later one was.
        realised: rupees realised by its fills, before charges.
        trades: -1 if an approved order ended without a fill, +1 if its first fill came after that, else 0.
        next_target: the waiting target that can be decided now; None if none waited.
    """

    state: PositionState
    order: OrderProgress | None = None
    realised: Decimal = ZERO
    trades: int = 0
    next_target: Signal | None = None


def decide(
    state: PositionState, signal: Signal, inputs: Inputs, limits: Limits, account: AccountView
) -> Decision:
    """Decides a signal that has no verdict yet; a target waits while an order is open under its key.

    Args:
        state: the signal's position.
        signal: the signal.
        inputs: market, calendar, kill switches, strategies' statuses.
        limits: the limits in force for the position.
        account: the whole account.

    Raises:
        StrategyRevisionUnknown: the revision of its strategy isn't known yet; nothing was decided.
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
    """Applies an order event to a position, once per revision; when the open order ends, the key is free again.

    Args:
        state: the order's position.
        before: the order so far; None if risk didn't approve it (its fills count all the same).
        order: the order's state after the event.
        fill: the event's fill; None if it has none.
        inputs: calendar, and the market's time if the event has none.
        priced: False if the value of fills isn't needed.
    """
    after = after_event(before, order, fill, priced=priced)
    if after is None:
        return Applied(state)
    filled, value = (before.filled, before.value) if before is not None else (0, ZERO)
    sign, at = order.side.sign, order.market_time or inputs.market.market_time
    if state.history.losses and at is not None:
        state = _with_losses_of_day(state, at, inputs)
    worth = sign * (after.value - value) if priced else None
    charges = after.charges - (before.charges if before is not None else ZERO)
    units = sign * (order.filled - filled)
    if fill is not None and fill.adjustment is not None:
        state, realised = after_adjustment(state, units, worth or ZERO, at, fill.adjustment.kind), ZERO
    else:
        state, realised = after_fill(state, units, worth, at, charges)
    if state.open is None or state.open.signal_id != order.signal_id:
        is_late = before is not None and before.final and not before.filled and bool(after.filled)
        return Applied(state, after, realised, int(is_late))
    if not after.final:
        open_still = PositionState(
            state.key,
            state.quantity,
            state.opened_at,
            after,
            state.waiting,
            state.history,
            state.margin,
            state.blocked,
        )
        return Applied(open_still, after, realised)
    trades = -1 if after.filled == 0 else 0
    without_order = PositionState(
        state.key,
        state.quantity,
        state.opened_at,
        None,
        None,
        state.history,
        state.margin,
        state.blocked,
    )
    return Applied(without_order, after, realised, trades, state.waiting)


def refused(
    signal: Signal,
    inputs: Inputs,
    reason: str,
    message: str,
    rules: tuple[RuleResult, ...] = (),
    largest_quantity: int = 0,
) -> Refused:
    """Makes a refusal; without `rules`, each rule in force is listed as NOT_APPLICABLE."""
    return Refused(
        signal.signal_id,
        signal.correlation_id,
        signal.key,
        signal.instrument_token,
        signal.config_revision,
        reason,
        message,
        inputs.market.market_time,
        rules or in_force(inputs.limits_for(signal.key), inputs.arming is not None).not_asked,
        largest_quantity,
    )


def _unknown(signal: Signal, inputs: Inputs) -> bool:
    return (signal.key.strategy_id, signal.instrument_token) in inputs.unknown_positions


def _judge(
    state: PositionState, signal: Signal, inputs: Inputs, limits: Limits, account: AccountView
) -> Decision:
    """Checks a signal of a position without an open order against the rules."""
    how = None
    if signal.size:
        signal, how = sized(state, signal, inputs, account)
    delta = _delta(signal, state.quantity)
    if delta == 0 and how is not None:
        not_asked = in_force(limits, inputs.arming is not None).not_asked
        return Decision(state, (refused(signal, inputs, SIZE, how.message, (*not_asked, how)),))
    if delta == 0 or (_short_delivery(signal) and state.quantity == 0):
        return Decision(state, (_held(signal, state.quantity, inputs),))
    asked = in_force(limits, inputs.arming is not None).rules
    check, rules, failed = _judged(
        asked,
        Check(
            signal,
            _side_of(delta),
            abs(delta),
            _effect_of(state.quantity, delta),
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
        rules = rules if how is None else (*rules, how)
        return Decision(state, (refused(signal, inputs, reason, failed.message, rules, most),))
    approved = Approved(
        signal.signal_id,
        signal.correlation_id,
        signal.key,
        signal.instrument_token,
        signal.config_revision,
        check.side,
        check.quantity,
        signal.terms,
        check.effect,
        signal.valid_until,
        inputs.market.market_time,
        rules if how is None else (*rules, how),
        signal.protection if check.effect.is_entry else None,
    )
    order = OrderProgress(signal.signal_id, signal.key, check.side, check.quantity)
    history = state.history
    if account.tracks_history:
        history = TradeHistory(
            history.cost,
            history.round_trip,
            history.losses,
            history.lost_at,
            request_of(signal),
            inputs.market.market_time,
        )
    opened = PositionState(
        state.key,
        state.quantity,
        state.opened_at,
        order,
        state.waiting,
        history,
        state.margin,
        blocked_by(check),
    )
    return Decision(opened, (approved,))


def _largest_quantity(asked: tuple[Rule, ...], check: Check, results: tuple[RuleResult, ...]) -> int:
    """The largest quantity, in whole lots, with which a refused order would have passed every rule; 0 if there is none.

    A rule that passed the order passes a smaller one too, so only the failed rules are evaluated.
    """
    most = check.quantity
    for rule, result in zip(asked, results, strict=True):
        if result.outcome is RuleOutcome.FAILED:
            most = min(most, rule.largest_quantity(check)) if rule.largest_quantity is not None else 0
    lot = check.instrument.lot_size if check.instrument else 1
    return most // lot * lot


def _with_losses_of_day(state: PositionState, at: datetime, inputs: Inputs) -> PositionState:
    """The position with its losses in a row reset, if they are of an earlier day."""
    lost_at, day_of = state.history.lost_at, inputs.calendar.trading_day
    if lost_at is not None and day_of(lost_at) == day_of(at):
        return state
    return replace(state, history=replace(state.history, losses=0, lost_at=None))


def _judged(asked: tuple[Rule, ...], check: Check) -> tuple[Check, tuple[RuleResult, ...], RuleResult | None]:
    """Evaluates the rules. After one cuts a flip to flat, all rules, earlier ones too, are evaluated for the cut order.

    Returns:
        The order as cut, the result of each rule, and the first result that refused it.
    """
    results: list[RuleResult] = []
    passed, all_passed = _PASSED, True
    for rule in asked:
        result = rule.judge(check)
        if result.outcome is not passed:
            all_passed = False
            if result.outcome is RuleOutcome.CLAMPED:
                check = check.cut_to_flat()
                results = [earlier.judge(check) for earlier in asked[: len(results)]]
        results.append(result)
    if all_passed:
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
    return signal.key.product is _CNC and signal.target is not None and signal.target < 0


def _held(signal: Signal, position: int, inputs: Inputs) -> Refused:
    """The refusal of a target that is reached already; with CNC a short target means flat."""
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
    not_asked = in_force(inputs.limits_for(signal.key), inputs.arming is not None).not_asked
    rules = tuple(cut if rule.rule == product.NAME else rule for rule in not_asked)
    return refused(signal, inputs, "ALREADY_AT_TARGET", f"{message}, and CNC is never short", rules)
