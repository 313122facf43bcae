"""Limits the number of orders in the exchange's day, of the account and of the strategy."""

from __future__ import annotations

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.day import WHOLE_ACCOUNT
from alphapanda.risk.core.limit import Limit, Reach, Unit

NAME = "daily_trades"
OF_ACCOUNT: Limit[int] = Limit(
    "max_daily_trades", Unit.ORDERS, Reach.ACCOUNT, "orders in the exchange's day", counted=True
)
OF_STRATEGY: Limit[int] = Limit(
    "max_strategy_daily_trades",
    Unit.ORDERS,
    Reach.STRATEGY,
    "orders of one strategy in the exchange's day",
    counted=True,
)


def judge(check: Check) -> RuleResult:
    """Checks the count, this order and earlier exits included; an order that ended unfilled doesn't count."""
    limits = check.limits
    of_account, of_strategy = limits.of(OF_ACCOUNT), limits.of(OF_STRATEGY)
    strategy_id = check.signal.key.strategy_id
    passed = RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    for whose, most, named in (
        (WHOLE_ACCOUNT, of_account, "the account"),
        (strategy_id, of_strategy, strategy_id),
    ):
        if most is None:
            continue
        today = check.today(whose)
        if today is None:
            message = "the market's day is unknown"
            return only_exits_pass(check, NAME, f"<= {most}", "unknown", message, unknown=True)
        after = today.trades + 1
        if after > most:
            message = f"it would be trade {after} of {named} on {today.day}, the limit is {most}"
            return only_exits_pass(check, NAME, f"<= {most}", str(after), message)
        passed = RuleResult(NAME, RuleOutcome.PASSED, f"<= {most} of {named}", str(after))
    return passed


RULE = Rule(NAME, judge, limits=(OF_ACCOUNT, OF_STRATEGY))
