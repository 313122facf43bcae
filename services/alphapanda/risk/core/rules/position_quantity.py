"""Limits the quantity held under one position key."""

from __future__ import annotations

from functools import lru_cache

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.limit import Limit, Reach, Unit

NAME = "position_quantity"
LIMIT: Limit[int] = Limit(
    "max_position_quantity",
    Unit.UNITS,
    Reach.ANY,
    "units held under one position key",
    default=100_000,
    least=1,
)


def judge(check: Check) -> RuleResult:
    """Checks the position after the order has filled; an exit passes even if the rest is over the limit."""
    limit, after = check.limits.of(LIMIT), check.position_after
    if limit is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    if abs(after) <= limit:
        return _passed(limit, after)
    message = f"a position of {after} units is over the limit of {limit}"
    return only_exits_pass(check, NAME, f"<= {limit}", str(after), message)


def largest_quantity(check: Check) -> int:
    """The rest of the limit."""
    return max(0, (check.limits.of(LIMIT) or 0) - abs(check.position))


@lru_cache(maxsize=4096)
def _passed(limit: int, after: int) -> RuleResult:
    return RuleResult(NAME, RuleOutcome.PASSED, f"<= {limit}", str(after))


RULE = Rule(NAME, judge, largest_quantity, limits=(LIMIT,))
