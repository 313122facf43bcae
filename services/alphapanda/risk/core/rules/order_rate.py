"""Limits the orders in a sliding window of market time, of the account and of the strategy."""

from __future__ import annotations

from datetime import timedelta

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.day import WHOLE_ACCOUNT
from alphapanda.risk.core.limit import Limit, Reach, Unit

NAME = "order_rate"
OF_ACCOUNT: Limit[int] = Limit(
    "max_order_rate", Unit.ORDERS, Reach.ACCOUNT, "orders in order_rate_window_seconds", counted=True
)
OF_STRATEGY: Limit[int] = Limit(
    "max_strategy_order_rate",
    Unit.ORDERS,
    Reach.STRATEGY,
    "orders of one strategy in order_rate_window_seconds",
    counted=True,
)
WINDOW: Limit[timedelta] = Limit(
    "order_rate_window",
    Unit.SECONDS,
    Reach.ACCOUNT,
    "market time over which orders are counted",
    default=timedelta(minutes=1),
    may_be_off=False,
)


def judge(check: Check) -> RuleResult:
    """Checks the rate, this order and earlier exits included; an exit passes at any rate."""
    limits = check.limits
    strategy_id, window = check.signal.key.strategy_id, limits.required(WINDOW)
    now, passed = check.inputs.market.market_time, RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    for whose, most, named in (
        (WHOLE_ACCOUNT, limits.of(OF_ACCOUNT), "the account"),
        (strategy_id, limits.of(OF_STRATEGY), strategy_id),
    ):
        if most is None:
            continue
        limit = f"<= {most} of {named} in {window.total_seconds():g} s"
        today = check.today(whose)
        if today is None or now is None:
            return only_exits_pass(
                check, NAME, limit, "unknown", "the market's time is unknown", unknown=True
            )
        after = today.within(window, now) + 1
        if after > most:
            message = f"it would be order {after} of {named} within {window.total_seconds():g} s, the limit is {most}"
            return only_exits_pass(check, NAME, limit, str(after), message)
        passed = RuleResult(NAME, RuleOutcome.PASSED, limit, str(after))
    return passed


RULE = Rule(NAME, judge, limits=(OF_ACCOUNT, OF_STRATEGY), parameters=(WINDOW,))
