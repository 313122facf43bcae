"""Limits the account's gross exposure in rupees: positions and open orders, long and short added up."""

from __future__ import annotations

from decimal import Decimal

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.exposure import ValueUnknown, gross_value, rupees
from alphapanda.risk.core.limit import Limit, Reach, Unit

NAME = "gross_exposure"
LIMIT: Limit[Decimal] = Limit(
    "max_gross_exposure",
    Unit.RUPEES,
    Reach.ACCOUNT,
    "rupees held and in open orders, long and short added up",
    account_wide=True,
)


def judge(check: Check) -> RuleResult:
    """Checks the exposure after this order and all open orders have filled; if a price is missing, no entry passes."""
    most = check.limits.of(LIMIT)
    if most is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    limit = f"<= {rupees(most)}"
    try:
        value = _after(check)
    except ValueUnknown as why:
        return only_exits_pass(check, NAME, limit, "unknown", str(why), unknown=True)
    if value <= most:
        return RuleResult(NAME, RuleOutcome.PASSED, limit, rupees(value))
    message = (
        f"a gross exposure of {rupees(value)} rupees would be over the account's limit of {rupees(most)}"
    )
    return only_exits_pass(check, NAME, limit, rupees(value), message)


def largest_quantity(check: Check) -> int:
    """Units that the rest of the limit buys."""
    limit, price = check.limits.of(LIMIT), check.price
    if limit is None or not price:
        return 0
    try:
        others = gross_value(check.others, check.inputs.price_of)
    except ValueUnknown:
        return 0
    return max(0, int((limit - others) // price) - abs(check.position))


def _after(check: Check) -> Decimal:
    others = gross_value(check.others, check.inputs.price_of)
    price = check.price
    if price is None:
        raise ValueUnknown(f"there is no price of {check.signal.key.instrument_id}")
    return others + abs(check.position_after) * price


RULE = Rule(NAME, judge, largest_quantity, limits=(LIMIT,))
