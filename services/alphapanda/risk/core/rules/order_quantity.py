"""Units in one entry."""

from __future__ import annotations

from functools import lru_cache

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, only_exits_pass

NAME = "order_quantity"


def judge(check: Check) -> RuleResult:
    """An exit of any size passes."""
    most = check.inputs.limits.max_order_quantity
    if most is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE, "off", str(check.quantity))
    if check.quantity <= most:
        return _passed(most, check.quantity)
    limit, observed = f"<= {most}", str(check.quantity)
    return only_exits_pass(
        check, NAME, limit, observed, f"an order of {observed} units is over the limit of {most}"
    )


@lru_cache(maxsize=4096)
def _passed(most: int, quantity: int) -> RuleResult:
    return RuleResult(NAME, RuleOutcome.PASSED, f"<= {most}", str(quantity))
