"""The broker's kill switch: REDUCING lets only reductions through, HALTED nothing."""

from __future__ import annotations

from alphapanda.domain.order import TradingState
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, only_exits_pass

NAME = "kill_switch"
_PASSED = RuleResult(NAME, RuleOutcome.PASSED, "ACTIVE", "ACTIVE")


def judge(check: Check) -> RuleResult:
    """The one rule that may refuse every exit."""
    match check.inputs.trading_state:
        case TradingState.ACTIVE:
            return _PASSED
        case TradingState.REDUCING:
            return only_exits_pass(
                check, NAME, "ACTIVE", "REDUCING", f"{check.signal.key.broker} takes only reductions now"
            )
        case TradingState.HALTED:
            return RuleResult(
                NAME, RuleOutcome.FAILED, "ACTIVE", "HALTED", f"{check.signal.key.broker} takes no orders now"
            )
