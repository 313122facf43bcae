"""Units held under one position key."""

from __future__ import annotations

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, only_exits_pass

NAME = "position_quantity"


def judge(check: Check) -> RuleResult:
    """Measured after the order has filled; an exit passes though what is left is over the limit."""
    most = check.inputs.limits.max_position_quantity
    after = check.position_after
    if most is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE, "off", str(after))
    limit, observed = f"<= {most}", str(after)
    if abs(after) <= most:
        return RuleResult(NAME, RuleOutcome.PASSED, limit, observed)
    return only_exits_pass(
        check, NAME, limit, observed, f"a position of {observed} units is over the limit of {most}"
    )
