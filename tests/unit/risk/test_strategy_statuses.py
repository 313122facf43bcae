"""What risk remembers of strategies that it is asked about."""

from __future__ import annotations

from alphapanda.risk.core.check import StrategyRevisionUnknown
from alphapanda.risk.strategy_statuses import MOST_WAITED_FOR, StrategyStatuses


def test_revisions_that_never_come_are_not_remembered_for_ever() -> None:
    """Beyond a number of them the one asked for first is forgotten: its wait begins anew."""
    now = 0.0
    statuses = StrategyStatuses(1.0, lambda: now)
    first = StrategyRevisionUnknown("s", 0)
    assert not statuses.has_timed_out(first)
    now = 2.0
    assert statuses.has_timed_out(first)
    for revision in range(1, MOST_WAITED_FOR + 1):
        assert not statuses.has_timed_out(StrategyRevisionUnknown("s", revision))
    assert ("s", 0) not in statuses.timed_out
    assert not statuses.has_timed_out(first)
    now = 4.0
    assert statuses.has_timed_out(first)
