"""Units held under one position key."""

from __future__ import annotations

from functools import lru_cache

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, only_exits_pass

NAME = "position_quantity"


def judge(check: Check) -> RuleResult:
    """Measured after the order has filled; an exit passes though what is left is over the limit."""
    most = check.inputs.limits.max_position_quantity
    after = check.position_after
    if most is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE, "off", str(after))
    if abs(after) <= most:
        return _passed(most, after)
    limit, observed = f"<= {most}", str(after)
    return only_exits_pass(
        check, NAME, limit, observed, f"a position of {observed} units is over the limit of {most}"
    )


@lru_cache(maxsize=4096)
def _passed(most: int, after: int) -> RuleResult:
    return RuleResult(NAME, RuleOutcome.PASSED, f"<= {most}", str(after))
