"""The same wish under the same key, taken once in a while."""

from __future__ import annotations

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, only_exits_pass
from alphapanda.risk.core.position import wish_of

NAME = "duplicate_signal"


def judge(check: Check) -> RuleResult:
    """Compared with the last signal let through under the key. An exit passes each time.

    So it stops a target made again after its order failed, and a person's order sent twice.
    """
    window = check.limits.duplicate_window
    if window is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    limit, now = f"once in {window.total_seconds():g} s", check.inputs.market.market_time
    if now is None:
        return only_exits_pass(check, NAME, limit, "unknown", "the market's time is unknown", unknown=True)
    ledger = check.state.ledger
    if ledger.wished_at is None or now - ledger.wished_at >= window or ledger.wish != wish_of(check.signal):
        return RuleResult(NAME, RuleOutcome.PASSED, limit)
    ago = f"{(now - ledger.wished_at).total_seconds():g} s ago"
    message = f"{ledger.wish} was let through {ago} under the same position"
    return only_exits_pass(check, NAME, limit, ago, message)
