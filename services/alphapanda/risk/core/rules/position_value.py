"""Rupees in one instrument, held or on its way, of all the account's strategies together."""

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
    """Measured once this order and all open ones have filled; long and short of two strategies don't offset."""
    most = check.limits.of(LIMIT)
    if most is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    limit, price = f"<= {rupees(most)}", check.price
    if price is None:
        message = f"there is no price of {check.signal.key.instrument_id}"
        return only_exits_pass(check, NAME, limit, "unknown", message, unknown=True)
    try:
        value = _others(check) + abs(check.position_after) * price
    except ValueUnknown as why:  # another strategy holds it, and it has another token than the signal's today
        return only_exits_pass(check, NAME, limit, "unknown", str(why), unknown=True)
    if value <= most:
        return RuleResult(NAME, RuleOutcome.PASSED, limit, rupees(value))
    message = f"{rupees(value)} rupees in {check.signal.key.instrument_id} would be over the account's limit of {rupees(most)}"
    return only_exits_pass(check, NAME, limit, rupees(value), message)


def most(check: Check) -> int:
    """Units that what is left of the limit buys."""
    limit, price = check.limits.of(LIMIT), check.price
    if limit is None or not price:
        return 0
    try:
        return max(0, int((limit - _others(check)) // price) - abs(check.position))
    except ValueUnknown:
        return 0


def _others(check: Check) -> Decimal:
    return gross_value(check.others, check.inputs.price_of, check.signal.key.instrument_id)


RULE = Rule(NAME, judge, most, limits=(LIMIT,))
