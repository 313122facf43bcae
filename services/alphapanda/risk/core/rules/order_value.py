"""Limits the value of one entry in rupees, at the last price."""

from __future__ import annotations

from decimal import Decimal

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.exposure import rupees
from alphapanda.risk.core.limit import Limit, Reach, Unit

NAME = "order_value"
LIMIT: Limit[Decimal] = Limit(
    "max_order_value", Unit.RUPEES, Reach.ANY, "rupees of one entry, at the last price"
)


def judge(check: Check) -> RuleResult:
    """Checks the value; an exit of any value passes, and without a price no entry does."""
    most = check.limits.of(LIMIT)
    if most is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    limit, price = f"<= {rupees(most)}", check.worth
    if price is None:
        message = f"there is no price of {check.signal.key.instrument_id}"
        return only_exits_pass(check, NAME, limit, "unknown", message, unknown=True)
    value = check.quantity * price
    if value <= most:
        return RuleResult(NAME, RuleOutcome.PASSED, limit, rupees(value))
    message = f"an order of {rupees(value)} rupees is over the limit of {rupees(most)}"
    return only_exits_pass(check, NAME, limit, rupees(value), message)


def largest_quantity(check: Check) -> int:
    """Units that the limit buys."""
    limit, price = check.limits.of(LIMIT), check.worth
    return int(limit // price) if limit is not None and price else 0


RULE = Rule(NAME, judge, largest_quantity, limits=(LIMIT,))
