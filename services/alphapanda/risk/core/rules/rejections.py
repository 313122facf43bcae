"""Refuses entries for the rest of the day where the broker has rejected several orders in a row (REAL_MONEY rule 5).

Whoever goes on sending what is rejected gets the app suspended.
"""

from __future__ import annotations

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.limit import Limit, Reach, Unit

NAME = "rejections"
LIMIT: Limit[int] = Limit(
    "max_rejections",
    Unit.ORDERS,
    Reach.INSTRUMENT,
    "rejections in a row by the broker after which an instrument takes no entries of that product until the next day",
    default=3,
    least=1,
)
_PASSED = RuleResult(NAME, RuleOutcome.PASSED)


def judge(check: Check) -> RuleResult:
    """Checks the rejections in a row of today; an order that the broker took, or a new day, resets them."""
    most, found = check.limits.of(LIMIT), check.account.rejections_of(check.signal.key)
    if most is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    if found is None or found.count < most:
        return _PASSED
    now, limit, observed = check.inputs.market.market_time, f"< {most} in a row", str(found.count)
    if now is None:
        return only_exits_pass(check, NAME, limit, observed, "the market's time is unknown", unknown=True)
    if check.inputs.calendar.trading_day(now) != found.day:
        return _PASSED
    key = check.signal.key
    message = (
        f"{key.broker} has rejected {found.count} orders in {key.instrument_id} as {key.product.name} in a row today"
        f" ({found.message}); no entry before the next day, or until {LIMIT.name} is raised"
    )
    return only_exits_pass(check, NAME, limit, observed, message)


RULE = Rule(NAME, judge, limits=(LIMIT,))
