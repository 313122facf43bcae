"""A hostile client in short; `make hostile` is the same in full, and measures how much longer a read takes."""

from __future__ import annotations

from statistics import median

from under_flood import KILL_SWITCH_SECONDS, MOST_MEBIBYTES, Flood, flood, place_orders

BUSY = 3
"""A test is no stopwatch: a machine that does other things has several times as long."""
ANSWERS = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED",  # AuthService, which isn't served where nobody signs in
}


def test_a_hostile_client_is_turned_away_and_nobody_else_notices_much(platform):
    """With 500 hostile calls in flight kill switch and reads are answered, and what is refused is told when to come again."""
    place_orders(platform, 60)
    noticed = flood(platform, Flood(), reads=20)
    assert set(noticed.hostile["statuses"]) <= ANSWERS, noticed.hostile
    assert noticed.hostile["reasons"]
    assert noticed.hostile["refused_badly"] == 0
    assert max(noticed.kill_switch) <= BUSY * KILL_SWITCH_SECONDS
    assert median(noticed.flooded) <= KILL_SWITCH_SECONDS
    assert noticed.grown_mebibytes <= MOST_MEBIBYTES
    assert not [line for line in platform.log() if line["level"] == "error"]
    assert platform.complaints == ""
