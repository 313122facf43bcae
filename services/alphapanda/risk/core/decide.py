"""From a signal and a position to verdicts. Everything here returns new values; nothing is changed in place."""

from __future__ import annotations

from dataclasses import dataclass, replace

from alphapanda.domain.order import PositionEffect, Product, Side
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.signal import Signal
from alphapanda.domain.value import quickly_built
from alphapanda.domain.verdict import Approved, Refused, RuleOutcome, RuleResult, Verdict
from alphapanda.risk.core.check import Check, Inputs
from alphapanda.risk.core.position import (
    OrderProgress,
    PositionState,
    is_square_off,
    moved,
    progressed,
)
from alphapanda.risk.core.rules import RULES, product

NOT_ASKED = tuple(RuleResult(rule.name, RuleOutcome.NOT_APPLICABLE) for rule in RULES)


@quickly_built
@dataclass(frozen=True, slots=True)
class Decision:
    """What came of an input.

    Attributes:
        state: the position afterwards.
        verdicts: given now, in order; at most one a signal, over all decisions together.
        order: the order the input told of, None where it was no order event or old news.
    """

    state: PositionState
    verdicts: tuple[Verdict, ...] = ()
    order: OrderProgress | None = None


def decide(state: PositionState, signal: Signal, inputs: Inputs) -> Decision:
    """Judges a signal that has no verdict yet. A target waits while an order is open under its key.

    Raises:
        StandingUnknown: its strategy's revision isn't known yet; nothing was decided.
    """
    if state.open is None:
        return _judge(state, signal, inputs)
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
    state: PositionState, before: OrderProgress | None, order: OrderState, inputs: Inputs
) -> Decision:
    """Takes in an order event: fills once, by the highest revision; the end of the open order frees the key.

    Args:
        state: the position the order moves.
        before: the order as known; None where risk never let it through (it moves the position all the same).
        order: as it stands now.
        inputs: for the target that waits, if its turn comes.

    Raises:
        StandingUnknown: of the waiting target; nothing was applied.
    """
    after = progressed(before, order)
    if after is None:
        return Decision(state)
    delta = order.side.sign * (order.filled - (before.filled if before else 0))
    state = moved(state, delta, order.market_time or inputs.market.market_time)
    if state.open is None or state.open.signal_id != order.signal_id:
        return Decision(state, order=after)
    if not after.final:
        return Decision(
            PositionState(state.key, state.quantity, state.opened_at, after, state.waiting), order=after
        )
    waiting = state.waiting
    state = PositionState(state.key, state.quantity, state.opened_at)
    if waiting is None:
        return Decision(state, order=after)
    decision = _judge(state, waiting, inputs)
    return Decision(decision.state, decision.verdicts, after)


def refused(
    signal: Signal,
    inputs: Inputs,
    reason: str,
    message: str,
    rules: tuple[RuleResult, ...] = NOT_ASKED,
) -> Refused:
    """A refusal."""
    return Refused(
        signal.signal_id,
        signal.correlation_id,
        signal.key,
        signal.instrument_token,
        signal.config_revision,
        reason,
        message,
        inputs.market.market_time,
        rules,
    )


def _judge(state: PositionState, signal: Signal, inputs: Inputs) -> Decision:
    """Judges a signal of a position without an open order."""
    delta = _delta(signal, state.quantity)
    if delta == 0 or (_short_delivery(signal) and state.quantity == 0):
        return Decision(state, (_held(signal, state.quantity, inputs),))
    check, rules = judged(
        Check(
            signal,
            Side.of(delta),
            abs(delta),
            PositionEffect.of(state.quantity, delta),
            state.quantity,
            inputs.instruments.by_id(signal.key.instrument_id),
            inputs,
        )
    )
    failed = RuleOutcome.FAILED
    for at, result in enumerate(rules):
        if result.outcome is failed:
            reason = RULES[at].reason
            return Decision(state, (refused(signal, inputs, reason, result.message, rules),))
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
    opened = PositionState(state.key, state.quantity, state.opened_at, order, state.waiting)
    return Decision(opened, (approved,), order)


def judged(check: Check) -> tuple[Check, tuple[RuleResult, ...]]:
    """Asks every rule. One that cuts a flip to flat shows the others the cut order, those before it once more."""
    results: list[RuleResult] = []
    clamped = RuleOutcome.CLAMPED
    for rule in RULES:
        result = rule.judge(check)
        if result.outcome is clamped:
            check = check.cut_to_flat()
            results = [earlier.judge(check) for earlier in RULES[: len(results)]]
        results.append(result)
    return check, tuple(results)


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
    rules = tuple(cut if rule.rule == product.NAME else rule for rule in NOT_ASKED)
    return refused(signal, inputs, "ALREADY_AT_TARGET", f"{message}, and CNC is never short", rules)
