"""The night's driver: every kind of fault has its turn, and what isn't survived is said."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from itertools import count

import nights
import pytest
from nights import Fault, a_night, drawn


class Patient:
    """A platform in name only, that may fail to recover from one kind of fault, or to prove its books."""

    name = "nothing"

    def __init__(self, never_after: str = "", *, proves: bool = True) -> None:
        self.done: Counter[str] = Counter()
        self._never_after = never_after
        self._proves = proves
        self._orders = count()

    def faults(self) -> Mapping[str, Fault]:
        return {kind: lambda kind=kind: self.done.update([kind]) for kind in ("a", "b", "c")}

    def hindered(self) -> Mapping[str, str]:
        return {"risk": "down"} if self.done[self._never_after] else {}

    def newest_order(self) -> int:
        return next(self._orders)

    def prove(self) -> int:
        assert self._proves, "a fill is missing"
        return 7


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for."""
    monkeypatch.setattr(nights, "SERVING_SECONDS", 0.01)
    monkeypatch.setattr(nights.time, "sleep", lambda _: None)


def test_every_kind_has_its_turn() -> None:
    """Ten faults of three kinds are three or four of each, in the seed's order."""
    turns = drawn(("a", "b", "c"), 10, random.Random(1))
    assert sorted(Counter(turns).values()) == [3, 3, 4]
    assert turns == drawn(("a", "b", "c"), 10, random.Random(1))


def test_a_night_that_is_survived() -> None:
    """Each fault is done once, and its recovery kept."""
    patient = Patient()
    night = a_night(patient, 3, 1)
    assert patient.done == Counter("abc")
    assert (night.wrong, night.faults, night.orders) == ("", 3, 7)


def test_what_does_not_come_back_ends_the_night() -> None:
    """A platform that doesn't serve again is not survived: the fault and what hinders it are named."""
    night = a_night(Patient("b"), 9, 1)
    assert "everything serving after: b" in night.wrong
    assert "'risk': 'down'" in night.wrong
    assert night.faults < 3


def test_books_that_do_not_add_up_are_not_survived() -> None:
    """The proof at the end counts."""
    assert a_night(Patient(proves=False), 3, 1).wrong.startswith("the proof: a fill is missing")
