"""Limits the quantity of one entry."""

from __future__ import annotations

from functools import lru_cache

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.limit import Limit, Reach, Unit

NAME = "order_quantity"
LIMIT: Limit[int] = Limit(
    "max_order_quantity", Unit.UNITS, Reach.ANY, "units in one order", default=100_000, least=1
)


def judge(check: Check) -> RuleResult:
    """Checks the quantity; an exit of any quantity passes."""
    limit = check.limits.of(LIMIT)
    if limit is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    if check.quantity <= limit:
        return _passed(limit, check.quantity)
    observed = str(check.quantity)
    message = f"an order of {observed} units is over the limit of {limit}"
    return only_exits_pass(check, NAME, f"<= {limit}", observed, message)


def largest_quantity(check: Check) -> int:
    """The limit."""
    return check.limits.of(LIMIT) or 0


@lru_cache(maxsize=4096)
def _passed(limit: int, quantity: int) -> RuleResult:
    return RuleResult(NAME, RuleOutcome.PASSED, f"<= {limit}", str(quantity))


RULE = Rule(NAME, judge, largest_quantity, limits=(LIMIT,))
