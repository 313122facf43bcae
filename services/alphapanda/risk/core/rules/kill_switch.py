"""Checks the kill switches of the broker and of the strategy: at REDUCING only exits pass, at HALTED nothing.

An instrument in which the broker's books differ from ours is REDUCING until they agree, or a person has resolved it.
"""

from __future__ import annotations

from alphapanda.domain.order import TradingState
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass

NAME = "kill_switch"
_ACTIVE = TradingState.ACTIVE
_PASSED = RuleResult(NAME, RuleOutcome.PASSED, "ACTIVE", "ACTIVE")


def judge(check: Check) -> RuleResult:
    """Applies the stricter of the two switches. At HALTED it refuses every exit."""
    key, state, whose = check.signal.key, check.inputs.trading_state, ""
    if check.inputs.strategy_switches:
        own = check.inputs.strategy_switches.get(key.strategy_id, TradingState.ACTIVE)
        if own > state:
            state, whose = own, f"strategy {key.strategy_id!r} at {key.broker!r}"
    if state is _ACTIVE:
        halts = check.inputs.scoped.halts
        if halts and (why := halts.get(key.instrument_id)):
            message = f"{key.instrument_id} takes only reductions at {key.broker!r} now: {why}"
            return only_exits_pass(check, NAME, "ACTIVE", "REDUCING", message)
        return _PASSED
    whose = whose or f"broker {key.broker!r}"
    if state is TradingState.REDUCING:
        message = f"{whose} is REDUCING: it takes only reductions now"
        return only_exits_pass(check, NAME, "ACTIVE", "REDUCING", message)
    return RuleResult(
        NAME, RuleOutcome.FAILED, "ACTIVE", "HALTED", f"{whose} is HALTED: it takes no orders now"
    )


RULE = Rule(NAME, judge)
