"""Refuses short positions with product CNC (delivery)."""

from __future__ import annotations

from alphapanda.domain.order import Product
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass

NAME = "product"
_CNC = Product.CNC
_PASSED = RuleResult(NAME, RuleOutcome.PASSED)


def judge(check: Check) -> RuleResult:
    """Checks the position after the order; a CNC order that would go short is cut to close the position."""
    if check.signal.key.product is not _CNC or check.position_after >= 0:
        return _PASSED
    after = str(check.position_after)
    return only_exits_pass(check, NAME, "CNC >= 0", after, f"CNC is never short, this would hold {after}")


RULE = Rule(NAME, judge)
