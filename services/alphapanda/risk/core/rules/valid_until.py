"""Refuses entries whose signal has expired."""

from __future__ import annotations

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass

NAME = "valid_until"
_PASSED = RuleOutcome.PASSED


def judge(check: Check) -> RuleResult:
    """Checks valid_until against market time; after it only exits pass."""
    market_time, valid_until = check.inputs.market.market_time, check.signal.valid_until
    if market_time is not None and market_time <= valid_until:
        return RuleResult(NAME, _PASSED, valid_until.isoformat, market_time.isoformat)
    limit = valid_until.isoformat()
    if market_time is None:
        return only_exits_pass(check, NAME, limit, "unknown", "the market's time is unknown", unknown=True)
    return only_exits_pass(check, NAME, limit, market_time.isoformat(), f"the signal was valid until {limit}")


RULE = Rule(NAME, judge, reason_code="EXPIRED")
