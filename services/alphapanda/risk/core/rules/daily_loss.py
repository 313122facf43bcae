"""Limits the account's loss in the exchange's day. Once it is reached, the account may only reduce until the next day."""

from __future__ import annotations

from decimal import Decimal

from alphapanda.domain.signal import PositionKey
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import AccountView, Check, Inputs, Rule, only_exits_pass
from alphapanda.risk.core.day import WHOLE_ACCOUNT, DayCounters
from alphapanda.risk.core.exposure import ValueUnknown, rupees, unrealised
from alphapanda.risk.core.limit import Limit, Reach, Unit

NAME = "daily_loss"
LIMIT: Limit[Decimal] = Limit(
    "max_daily_loss",
    Unit.RUPEES,
    Reach.ACCOUNT,
    "loss in the exchange's day, realised, unrealised and charges, in rupees; then the account only reduces",
    account_wide=True,
    counted=True,
)


def judge(check: Check) -> RuleResult:
    """Checks the loss. An account that has tripped stays REDUCING for the day, even if its positions recover.

    The profit of a position counts from its cost, even if it was opened on an earlier day.
    """
    most = check.limits.of(LIMIT)
    if most is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    limit, today = f"< {rupees(most)}", check.today(WHOLE_ACCOUNT)
    if today is None:
        return only_exits_pass(check, NAME, limit, "unknown", "the market's day is unknown", unknown=True)
    if today.tripped:
        return only_exits_pass(check, NAME, limit, "REDUCING", today.tripped)
    try:
        lost = _loss(today, check.account, check.signal.key, check.inputs)
    except ValueUnknown as why:
        return only_exits_pass(
            check, NAME, limit, "unknown", f"the day's profit is unknown: {why}", unknown=True
        )
    if lost >= most:
        return only_exits_pass(check, NAME, limit, rupees(lost), _why(check.signal.key, today, lost, most))
    return RuleResult(NAME, RuleOutcome.PASSED, limit, rupees(lost))


def tripping(
    today: DayCounters, most: Decimal, account: AccountView, key: PositionKey, inputs: Inputs
) -> str:
    """Why the account may only reduce from now on; empty if the daily loss is below the limit, or unknown."""
    try:
        lost = _loss(today, account, key, inputs)
    except ValueUnknown:
        return ""
    return "" if lost < most else _why(key, today, lost, most)


def _why(key: PositionKey, today: DayCounters, lost: Decimal, most: Decimal) -> str:
    whose = f"account {key.account!r} at {key.broker!r}"
    return f"{whose} lost {rupees(lost)} rupees on {today.day}, the limit is {rupees(most)}; it only reduces until the next day"


def _loss(today: DayCounters, account: AccountView, key: PositionKey, inputs: Inputs) -> Decimal:
    return (
        today.charges
        - today.realised
        - unrealised(account.active_positions(key.broker, key.account), inputs.price_of)
    )


RULE = Rule(NAME, judge, limits=(LIMIT,))
