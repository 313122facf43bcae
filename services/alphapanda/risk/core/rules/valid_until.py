"""How long an entry may be executed."""

from __future__ import annotations

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass

NAME = "valid_until"


def judge(check: Check) -> RuleResult:
    """Past valid_until only exits pass, measured against the position as it is now."""
    market_time, valid_until = check.inputs.market.market_time, check.signal.valid_until
    limit = valid_until.isoformat()
    if market_time is None:
        return only_exits_pass(check, NAME, limit, "unknown", "the market's time is unknown", unknown=True)
    if market_time > valid_until:
        return only_exits_pass(
            check, NAME, limit, market_time.isoformat(), f"the signal was valid until {limit}"
        )
    return RuleResult(NAME, RuleOutcome.PASSED, limit, market_time.isoformat())


RULE = Rule(NAME, judge, says="EXPIRED")
