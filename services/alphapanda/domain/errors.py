"""Refusals of bad input.

InvalidInput            a value a caller can mend
└── UnknownName         a name that isn't registered; says which are
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

LONGEST_VALUE = 100
"""Characters of a refused value that a message shows."""
MOST_NAMES = 30
"""Known names that a message lists."""
_COMPARED = 500  # comparing takes 40 µs a name: a typo among an exchange's 100,000 would hold a process up for seconds


def shown(value: object) -> str:
    """A value as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


def nearest(value: str, names: Sequence[str]) -> str | None:
    """The name that somebody most likely meant, None where none is near.

    Args:
        value: what came.
        names: the known ones, sorted; of very many only the neighbours are looked at.
    """
    if len(names) > 2 * _COMPARED:
        at = bisect_left(names, value)
        names = names[max(0, at - _COMPARED) : at + _COMPARED]
    near = get_close_matches(value, names, n=1)
    return near[0] if near else None


class InvalidInput(ValueError):
    """A value that can't be used, with the field it came in and what is allowed.

    Args:
        field: dotted name of the field, such as "parameters.fast".
        value: what came, as text.
        allowed: what would have been taken, in words.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = str(value)
        self.allowed = allowed
        super().__init__(f"{field}: {shown(self.value)} is not allowed; {allowed}")


class UnknownName(InvalidInput):
    """A name that isn't one of the known ones; the nearest is suggested."""

    def __init__(self, field: str, value: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = nearest(value, names)
        hint = f"did you mean {near!r}? " if near else ""
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        super().__init__(field, value, f"{hint}allowed: {', '.join(names[:MOST_NAMES]) or 'none'}{more}")
