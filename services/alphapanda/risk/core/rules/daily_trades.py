"""Orders in the exchange's day, of the account and of the strategy."""

from __future__ import annotations

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, only_exits_pass
from alphapanda.risk.core.day import WHOLE_ACCOUNT

NAME = "daily_trades"


def judge(check: Check) -> RuleResult:
    """Counts this order too, and exits among the others; an order that ended unfilled is no trade."""
    limits = check.limits
    of_account, of_strategy = limits.max_daily_trades, limits.max_strategy_daily_trades
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
