"""A pause after losing round trips in a row."""

from __future__ import annotations

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, only_exits_pass

NAME = "cooldown"


def judge(check: Check) -> RuleResult:
    """Each further loss in the row starts the pause anew; a round trip that doesn't lose, or a new day, ends the row."""
    losses = check.limits.cooldown_losses
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
        or now - lost_at >= check.limits.cooldown
        or calendar.trading_day(lost_at) != calendar.trading_day(now)
    ):
        return RuleResult(NAME, RuleOutcome.PASSED, limit, str(history.losses))
    until = (lost_at + check.limits.cooldown).isoformat()
    message = f"{history.losses} round trips in a row lost; no entry before {until}"
    return only_exits_pass(check, NAME, limit, str(history.losses), message)
