"""Scorecard R3, in short; `python -m tests.simulation.unclear 1334` is the full form."""

from __future__ import annotations

from tests.simulation.unclear import ABSENT, FILLED, unclear_answers


def test_every_call_times_out_and_every_order_ends_in_its_true_state() -> None:
    """Of 134 entries half were accepted and are found, half are absent and never sent again; every exit ends flat."""
    survived = unclear_answers(134)
    assert survived.violations == ()
    assert (survived.unclear, survived.accepted) == (201, 100)
    assert survived.orders == {FILLED: 67, ABSENT: 67}
    assert survived.exits == {FILLED: 67}
    assert survived.held == 0
    assert survived.calls == survived.accepted + 34  # the exits that were not accepted, once more
