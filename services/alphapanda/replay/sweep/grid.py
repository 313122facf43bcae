"""A grid of parameters as written on the command line: TYPE:fast=5..20:5,slow=30,50[@NSE:X,…][*QUANTITY]."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from math import prod
from typing import Final

from alphapanda.domain.errors import InvalidInput

FORM: Final = (
    "allowed: TYPE:name=VALUES[,name=VALUES…][@NSE:X,NSE:Y…][*QUANTITY]; VALUES are 5, 30,50 or 5..20:5"
)
MOST_STEPS: Final = 10_000
"""Values of one range; more are never meant."""
_GRID: Final = re.compile(
    r"(?P<type>[a-z0-9_]+):(?P<parameters>[^@*]+)(?:@(?P<symbols>[^*]+))?(?:\*(?P<quantity>[^*]*))?"
)
_NUMBER: Final = r"-?\d{1,12}(?:\.\d{1,9})?"
_RANGE: Final = re.compile(rf"(?P<first>{_NUMBER})\.\.(?P<last>{_NUMBER})(?::(?P<step>{_NUMBER}))?")


@dataclass(frozen=True, slots=True)
class Grid:
    """All combinations of some parameters' values, for one strategy type.

    Attributes:
        strategy_type: name of the type.
        values: the values of each parameter as text, in the order in which they were written.
        symbols: "NSE:INFY" …; empty where none is named.
        quantity: of a full position as text; None where none is given.
    """

    strategy_type: str
    values: Mapping[str, tuple[str, ...]]
    symbols: tuple[str, ...]
    quantity: str | None

    def __len__(self) -> int:
        """Number of combinations."""
        return prod(len(values) for values in self.values.values())

    def sets(self) -> Iterator[dict[str, str]]:
        """The combinations; the last parameter moves fastest."""
        for values in product(*self.values.values()):
            yield dict(zip(self.values, values, strict=True))


def parse_grid(text: str) -> Grid:
    """A grid from its text.

    Raises:
        InvalidInput: it doesn't read so; the message names the parameter and the value.
    """
    found = _GRID.fullmatch(text)
    if found is None:
        raise InvalidInput("--grid", text, FORM)
    values: dict[str, list[str]] = {}
    name = ""
    for part in found["parameters"].split(","):
        before, equals, after = part.partition("=")
        if equals:
            name = before
            if not name:
                raise InvalidInput("--grid", part, FORM)
            if name in values:
                raise InvalidInput("--grid", part, f"{name} is given twice; write its values as {name}=5,10")
            values[name] = []
        elif not name:
            raise InvalidInput("--grid", part, FORM)
        values[name] += _values(name, after if equals else part)
    for each, of in values.items():
        if len(set(of)) < len(of):
            twice = next(value for value in of if of.count(value) > 1)
            raise InvalidInput(f"--grid {each}", twice, "each value once")
    symbols = tuple(found["symbols"].split(",")) if found["symbols"] else ()
    return Grid(
        found["type"], {each: tuple(of) for each, of in values.items()}, symbols, found["quantity"] or None
    )


def varied(sets: Sequence[Mapping[str, str]]) -> list[str]:
    """The parameters that have more than one value among the sets, in their order."""
    names = dict.fromkeys(name for each in sets for name in each)
    return [name for name in names if len({each.get(name) for each in sets}) > 1]


def _values(name: str, text: str) -> list[str]:
    if not text:
        raise InvalidInput(f"--grid {name}", text, "a value, values with commas, or a range like 5..20:5")
    if ".." not in text:
        return [text]
    found = _RANGE.fullmatch(text)
    if found is None:
        raise InvalidInput(f"--grid {name}", text, "a range of numbers like 5..20:5 (from, to, step)")
    first, last = Decimal(found["first"]), Decimal(found["last"])
    step = Decimal(found["step"] or 1)
    if step <= 0:
        raise InvalidInput(f"--grid {name}", text, "a range with a step above 0")
    if last < first:
        raise InvalidInput(f"--grid {name}", text, f"a range that ends at {first} or above")
    steps = int((last - first) / step)
    if steps >= MOST_STEPS:
        raise InvalidInput(f"--grid {name}", text, f"a range of at most {MOST_STEPS:,} values")
    return [f"{(first + number * step).normalize():f}" for number in range(steps + 1)]
