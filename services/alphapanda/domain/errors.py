"""Refusals of bad input.

InvalidInput            a value a caller can mend
└── UnknownName         a name that isn't registered; says which are
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


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
        super().__init__(f"{field}: {self.value!r} is not allowed; {allowed}")


class UnknownName(InvalidInput):
    """A name that isn't one of the known ones; the nearest is suggested."""

    def __init__(self, field: str, value: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(value, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(field, value, f"{hint}allowed: {', '.join(names) or 'none'}")
