"""Refusals of bad input.

InvalidInput            a value that the caller can correct
└── UnknownName         a name that isn't registered; the message lists those that are
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from typing_extensions import override

LONGEST_VALUE = 100
"""Most characters of a refused value in a message."""
MOST_NAMES = 30
"""Most known names listed in a message."""
_COMPARED = (
    500  # a comparison takes 40 µs: all 100,000 names of an exchange would block the process for seconds
)


def shown(value: object) -> str:
    """A value's repr for a message, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


def nearest(value: str, names: Sequence[str]) -> str | None:
    """The known name most similar to a value; None if none is similar.

    Args:
        value: the unknown name.
        names: the known names, sorted; of more than 1,000 only the neighbours in sort order are compared.
    """
    if len(names) > 2 * _COMPARED:
        at = bisect_left(names, value)
        names = names[max(0, at - _COMPARED) : at + _COMPARED]
    near = get_close_matches(value, names, n=1)
    return near[0] if near else None


class InvalidInput(ValueError):
    """A value that isn't allowed, with its field and what is allowed.

    Args:
        field: dotted name of the field, such as "parameters.fast".
        value: the refused value.
        allowed: what is allowed, in words.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = str(value)
        self.allowed = allowed
        super().__init__(f"{field}: {shown(self.value)} is not allowed; {allowed}")

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Makes the same error in another process, whatever its class is made from."""
        return _made_again, (type(self), str(self), self.__dict__)


class UnknownName(InvalidInput):
    """A name that isn't known; the message suggests the most similar known one."""

    def __init__(self, field: str, value: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = nearest(value, names)
        hint = f"did you mean {near!r}? " if near else ""
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        super().__init__(field, value, f"{hint}allowed: {', '.join(names[:MOST_NAMES]) or 'none'}{more}")


def _made_again(kind: type[InvalidInput], message: str, state: dict[str, object]) -> InvalidInput:
    error = kind.__new__(kind, message)
    error.__dict__.update(state)
    return error
