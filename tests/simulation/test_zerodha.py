"""Zerodha's trader through what the stub exchange and people do to it; `python -m tests.simulation.zerodha` is the full form."""

from __future__ import annotations

import pytest
from tests.simulation.zerodha import run_seed, unclear_answers


@pytest.mark.parametrize("seed", range(12))
def test_rule_9_no_duplicate_no_crossing_and_both_sides_equal(seed: int) -> None:
    """Unclear answers, hidden orders, partials, restarts, sales by phone and the broker's square-off, at any moment of ours."""
    assert run_seed(seed).violations == ()


def test_rule_2_orders_without_an_answer_end_in_their_true_state() -> None:
    """Half of the entries were accepted and are found, half are absent and never sent again; every exit ends flat (scorecard R3)."""
    survived = unclear_answers(12)
    assert survived.violations == ()
    assert (survived.unclear, survived.accepted) == (18, 9)
    assert survived.entries == {"FILLED": 6, "FAILED ABSENT": 6}
    assert survived.exits == {"FILLED": 6}
