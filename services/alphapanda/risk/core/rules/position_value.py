"""Limits the value held in one instrument in rupees, open orders included, over all strategies of the account."""

from __future__ import annotations

from decimal import Decimal

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.exposure import ValueUnknown, gross_value, rupees
from alphapanda.risk.core.limit import Limit, Reach, Unit

NAME = "position_value"
LIMIT: Limit[Decimal] = Limit(
    "max_position_value",
    Unit.RUPEES,
    Reach.INSTRUMENT,
    "rupees in one instrument, held and in open orders, of all strategies together",
    account_wide=True,
)


def judge(check: Check) -> RuleResult:
    """Checks the value after this order and all open orders have filled; two strategies' long and short don't offset."""
    most = check.limits.of(LIMIT)
    if most is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    limit, price = f"<= {rupees(most)}", check.price
    if price is None:
        message = f"there is no price of {check.signal.key.instrument_id}"
        return only_exits_pass(check, NAME, limit, "unknown", message, unknown=True)
    try:
        value = _others(check) + abs(check.position_after) * price
    except ValueUnknown as why:  # another strategy holds it under a token that has no price
        return only_exits_pass(check, NAME, limit, "unknown", str(why), unknown=True)
    if value <= most:
        return RuleResult(NAME, RuleOutcome.PASSED, limit, rupees(value))
    message = f"{rupees(value)} rupees in {check.signal.key.instrument_id} would be over the account's limit of {rupees(most)}"
    return only_exits_pass(check, NAME, limit, rupees(value), message)


def largest_quantity(check: Check) -> int:
    """Units that the rest of the limit buys."""
    limit, price = check.limits.of(LIMIT), check.price
    if limit is None or not price:
        return 0
    try:
        return max(0, int((limit - _others(check)) // price) - abs(check.position))
    except ValueUnknown:
        return 0


def _others(check: Check) -> Decimal:
    return gross_value(check.others, check.inputs.price_of, check.signal.key.instrument_id)


RULE = Rule(NAME, judge, largest_quantity, limits=(LIMIT,))
