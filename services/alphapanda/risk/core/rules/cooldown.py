"""Refuses entries for some time after several losing round trips, after charges, in a row."""

from __future__ import annotations

from datetime import timedelta

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.limit import Limit, Reach, Unit

NAME = "cooldown"
LOSSES: Limit[int] = Limit(
    "cooldown_losses",
    Unit.TRIPS,
    Reach.ANY,
    "losing round trips in a row after which a strategy pauses in an instrument",
    counted=True,
)
PAUSE: Limit[timedelta] = Limit(
    "cooldown",
    Unit.SECONDS,
    Reach.ANY,
    "market time that such a pause lasts",
    default=timedelta(minutes=15),
    may_be_off=False,
)


def judge(check: Check) -> RuleResult:
    """Checks the pause. Each further loss restarts it; a round trip without a loss, or a new day, resets the count."""
    losses = check.limits.of(LOSSES)
    if losses is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    limit, now = f"< {losses} losses in a row", check.inputs.market.market_time
    if now is None:
        return only_exits_pass(check, NAME, limit, "unknown", "the market's time is unknown", unknown=True)
    history, calendar = check.state.history, check.inputs.calendar
    lost_at = history.lost_at
    if (
        history.losses < losses
        or lost_at is None
        or now - lost_at >= check.limits.required(PAUSE)
        or calendar.trading_day(lost_at) != calendar.trading_day(now)
    ):
        return RuleResult(NAME, RuleOutcome.PASSED, limit, str(history.losses))
    until = (lost_at + check.limits.required(PAUSE)).isoformat()
    message = f"{history.losses} round trips in a row lost; no entry before {until}"
    return only_exits_pass(check, NAME, limit, str(history.losses), message)


RULE = Rule(NAME, judge, limits=(LOSSES,), parameters=(PAUSE,))
