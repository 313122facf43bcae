"""Limits the number of open orders of the account."""

from __future__ import annotations

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.limit import Limit, Reach, Unit

NAME = "open_orders"
LIMIT: Limit[int] = Limit(
    "max_open_orders", Unit.ORDERS, Reach.ACCOUNT, "orders open at once", account_wide=True
)


def judge(check: Check) -> RuleResult:
    """Checks the count, this order included; an exit passes even if the limit is exceeded."""
    most = check.limits.of(LIMIT)
    if most is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    after = 1 + sum(1 for state in check.others if state.open is not None)
    if after <= most:
        return RuleResult(NAME, RuleOutcome.PASSED, f"<= {most}", str(after))
    message = f"it would be open order {after} of the account, the limit is {most}"
    return only_exits_pass(check, NAME, f"<= {most}", str(after), message)


RULE = Rule(NAME, judge, limits=(LIMIT,))
