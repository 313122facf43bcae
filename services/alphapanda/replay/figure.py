"""A figure of a report: its value or why there is none, its unit and its definition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import Final, NamedTuple

Number = int | float | Decimal

MORE_THAN_A_NUMBER_HOLDS: Final = "it is beyond what a number holds"


class Unit(StrEnum):
    """What a figure's value counts."""

    FRACTION = "fraction"
    RATIO = "ratio"
    RUPEES = "rupees"
    COUNT = "count"
    TRADING_DAYS = "trading days"


class NotDefined(str):  # noqa: SLOT000 - a str that says why there is no value
    """Why a figure has no value, as the end of a sentence: "n/a: a day is no year"."""


class Definition(NamedTuple):
    """What a figure is.

    Attributes:
        title: its name for people.
        unit: of its value.
        text: how it is computed.
    """

    title: str
    unit: Unit
    text: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure.

    Attributes:
        name: key in JSON, such as "sharpe".
        value: a finite number; None if it is not defined.
        reason: why it is not defined; empty if it is.
        definition: what it is.
    """

    name: str
    value: Number | None
    reason: str
    definition: Definition


class Figures:
    """Figures by name, in the order of their definitions."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        self._by_name = {figure.name: figure for figure in figures}

    def __getitem__(self, name: str) -> Figure:
        return self._by_name[name]

    def __iter__(self) -> Iterator[Figure]:
        return iter(self._by_name.values())

    def value(self, name: str) -> Number | None:
        """A figure's value; None if it is not defined."""
        return self._by_name[name].value


def defined(values: Mapping[str, Number | NotDefined], definitions: Mapping[str, Definition]) -> Figures:
    """Joins values with their definitions; a value that is not finite is not defined."""
    return Figures([_figure(name, values[name], of) for name, of in definitions.items() if name in values])


def _figure(name: str, value: Number | NotDefined, definition: Definition) -> Figure:
    if isinstance(value, NotDefined):
        return Figure(name, None, str(value), definition)
    if not isfinite(value):
        return Figure(name, None, MORE_THAN_A_NUMBER_HOLDS, definition)
    return Figure(name, value, "", definition)
