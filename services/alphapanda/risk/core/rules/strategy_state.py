"""Requires for an entry that the strategy runs and that the signal is of its current revision."""

from __future__ import annotations

from functools import lru_cache

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, StrategyRevisionUnknown, only_exits_pass

NAME = "strategy_state"
_NO_STRATEGY = RuleResult(NAME, RuleOutcome.NOT_APPLICABLE, "", "", "a person's order or a square-off")


def judge(check: Check) -> RuleResult:
    """Checks state and revision; exits of a stopped strategy or an old revision pass.

    Raises:
        StrategyRevisionUnknown: an entry is of a revision that isn't known yet, and the wait for it hasn't timed out.
    """
    signal = check.signal
    revision = signal.config_revision
    if revision == 0:
        return _NO_STRATEGY
    strategy_id = signal.key.strategy_id
    status = check.inputs.strategy_statuses.get(strategy_id)
    if status is None or revision > status.revision:
        if check.effect.is_entry and (strategy_id, revision) not in check.inputs.timed_out:
            raise StrategyRevisionUnknown(strategy_id, revision)
        message = f"revision {revision} of {strategy_id} is not known here"
        return only_exits_pass(check, NAME, "a known revision", str(revision), message, unknown=True)
    if status.running and revision == status.revision:
        return _passed(revision)
    limit = _running(status.revision)
    if not status.running:
        return only_exits_pass(check, NAME, limit, "stopped", f"{strategy_id} is stopped")
    message = f"revision {revision} of {strategy_id} was replaced by {status.revision}"
    return only_exits_pass(check, NAME, limit, f"revision {revision}", message)


@lru_cache(maxsize=4096)
def _passed(revision: int) -> RuleResult:
    limit = _running(revision)
    return RuleResult(NAME, RuleOutcome.PASSED, limit, limit)


def _running(revision: int) -> str:
    return f"running, revision {revision}"


RULE = Rule(NAME, judge)
