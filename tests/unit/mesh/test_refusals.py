"""How fast refusals are sent."""

from __future__ import annotations

from alphapanda.mesh.refusals import A_SECOND, AT_ONCE, RefusalPace


def test_a_burst_is_refused_at_once() -> None:
    """Nobody who is over a bound waits to be told so."""
    pace = RefusalPace(0.0)
    assert {pace.wait(0.0) for _ in range(AT_ONCE)} == {0.0}


def test_who_repeats_refused_calls_at_once_is_made_to_heed_retry_info() -> None:
    """While refusals keep coming faster than A_SECOND, each waits about the second that it asks for."""
    pace = RefusalPace(0.0)
    for _ in range(AT_ONCE):
        pace.wait(0.0)
    waits = [pace.wait(second + part / 2000) for second in range(1, 4) for part in range(2000)]
    assert all(wait == 0 or 0.75 <= wait <= 1.25 for wait in waits)
    assert waits.count(0.0) <= 4 * A_SECOND


def test_a_flood_that_has_passed_is_forgotten() -> None:
    """After a quiet time refusals are sent at once again."""
    pace = RefusalPace(0.0)
    for _ in range(AT_ONCE + 1):
        pace.wait(0.0)
    assert pace.wait(AT_ONCE / A_SECOND) == 0.0
