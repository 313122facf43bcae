"""A flood of refused commands is a few entries of the audit that say how many there were."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from alphapanda.storage.audit import AuditEntry, Outcome
from alphapanda.storage.refused_commands import (
    EACH_A_MINUTE,
    EACH_OF_A_KIND,
    MOST_KINDS,
    OTHERS,
    RefusedCommands,
)

AT = datetime(2026, 11, 30, tzinfo=UTC)


def refused(
    caller: str = "eve", *, second: int = 0, port: int = 1, outcome: str = "PERMISSION_DENIED"
) -> AuditEntry:
    at = AT + timedelta(seconds=second)
    return AuditEntry(
        f"{caller}-{second}-{port}", at, "risk", "/R/Set", caller, f"ipv4:10.0.0.1:{port}", "r-1", "c-1", {"broker": "paper"},
        outcome=Outcome(at, outcome),
    )  # fmt: skip


def test_few_are_stored_as_they_are() -> None:
    """What isn't a flood is an entry each, at once, with its request."""
    counting = RefusedCommands(0.0)
    one = refused()
    assert counting.take(one, 1.0) == [one]
    assert counting.due(100.0) == []


def test_a_flood_of_one_kind_is_counted() -> None:
    """After the first few of a kind the rest of the minute is one entry, whatever their port, with first and last time."""
    counting = RefusedCommands(0.0, lambda: "sum")
    stored = [one for n in range(1000) for one in counting.take(refused(second=n // 20, port=n), n / 20)]
    assert len(stored) == EACH_OF_A_KIND
    [whole] = counting.due(60.0)
    assert (whole.entry_id, whole.calls, whole.request, whole.request_id) == (
        "sum",
        1000 - EACH_OF_A_KIND,
        {},
        "",
    )
    assert whole.outcome is not None
    assert (whole.started_at, whole.outcome.ended_at) == (AT, AT + timedelta(seconds=49))
    assert (whole.caller, whole.outcome.outcome) == ("eve", "PERMISSION_DENIED")
    assert counting.due(120.0) == []


def test_a_flood_of_many_kinds_is_bounded() -> None:
    """However many callers there are, a minute makes a bounded number of entries, and no call is left out of the counts."""
    counting = RefusedCommands(0.0)
    stored = [one for n in range(5000) for one in counting.take(refused(f"c{n}"), 1.0)]
    sums = counting.due(61.0)
    assert len(stored) == EACH_A_MINUTE
    assert len(sums) == MOST_KINDS + 1
    assert sum(one.calls for one in (*stored, *sums)) == 5000
    assert Counter(one.caller == OTHERS for one in sums) == {False: MOST_KINDS, True: 1}


def test_the_next_minute_begins_anew() -> None:
    """A refusal of the next minute brings the sums of the last and is stored itself; the end of the process waits for none."""
    counting = RefusedCommands(0.0)
    for n in range(10):
        counting.take(refused(second=n), n)
    sums = counting.take(refused(second=70), 70.0)
    assert [one.calls for one in sums] == [10 - EACH_OF_A_KIND, 1]
    for n in range(10):
        counting.take(refused(second=n), 71.0)
    assert [one.calls for one in counting.due(72.0, ending=True)] == [6]
