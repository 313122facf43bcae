"""A live account takes entries only on the exchange's day for which a person armed it, and only with its required limits."""

from __future__ import annotations

from typing import Any, Final

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.limit import Limit
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.rules import daily_loss, daily_trades, order_value

NAME = "arming"
REASON = "NOT_ARMED"
REQUIRED: Final[tuple[Limit[Any], ...]] = (order_value.LIMIT, daily_loss.LIMIT, daily_trades.OF_ACCOUNT)
"""The limits without which no live account takes an entry."""

_NOT_LIVE = RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)


def missing(limits: Limits) -> tuple[str, ...]:
    """Names of the required limits that aren't set."""
    return tuple(limit.name for limit in REQUIRED if limits.of(limit) is None)


def judge(check: Check) -> RuleResult:
    """Checks that the account is armed for the market's day; a simulated broker's needs no arming, and exits pass."""
    arming = check.inputs.arming
    if arming is None:
        return _NOT_LIVE
    key, at = check.signal.key, check.inputs.market.market_time
    whose = f"account {key.account!r} at {key.broker!r}"
    if at is None:
        message = f"the market's day is unknown, so {whose} isn't armed for it"
        return only_exits_pass(check, NAME, "armed", "unknown", message, unknown=True)
    day = check.inputs.calendar.trading_day(at)
    limit, observed = f"armed for {day}", str(arming.day or "not armed")
    if arming.day != day:
        message = (
            f"{whose} isn't armed for {day} and only reduces: `alphapanda live arm --broker {key.broker}"
            f" --account {key.account}` arms it"
        )
        return only_exits_pass(check, NAME, limit, observed, message)
    if unset := missing(check.limits):
        message = f"{whose} only reduces while {', '.join(unset)} isn't set"
        return only_exits_pass(check, NAME, limit, f"{', '.join(unset)} off", message)
    return RuleResult(NAME, RuleOutcome.PASSED, limit, observed)


RULE = Rule(NAME, judge, reason_code=REASON, only_live=True)
