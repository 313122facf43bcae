"""Refuses a repeated request under the same position key within a time window."""

from __future__ import annotations

from datetime import timedelta

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.limit import Limit, Reach, Unit
from alphapanda.risk.core.position import request_of

NAME = "duplicate_signal"
WINDOW: Limit[timedelta] = Limit(
    "duplicate_window",
    Unit.SECONDS,
    Reach.ANY,
    "market time within which the same signal passes only once",
    counted=True,
)


def judge(check: Check) -> RuleResult:
    """Compares the signal with the last one approved under its key. Exits always pass.

    This stops a target that is repeated after its order failed, and a manual order that is sent twice.
    """
    window = check.limits.of(WINDOW)
    if window is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    limit, now = f"once in {window.total_seconds():g} s", check.inputs.market.market_time
    if now is None:
        return only_exits_pass(check, NAME, limit, "unknown", "the market's time is unknown", unknown=True)
    history = check.state.history
    if (
        history.last_request_at is None
        or now - history.last_request_at >= window
        or history.last_request != request_of(check.signal)
    ):
        return RuleResult(NAME, RuleOutcome.PASSED, limit)
    ago = f"{(now - history.last_request_at).total_seconds():g} s ago"
    message = f"{history.last_request} was approved {ago} under the same position"
    return only_exits_pass(check, NAME, limit, ago, message)


RULE = Rule(NAME, judge, limits=(WINDOW,))
