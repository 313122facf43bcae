"""Heat maps of a sweep: a measure over two parameters, at the best value of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import combinations
from typing import Final

from alphapanda.replay.figure import Number
from alphapanda.replay.sweep.grid import varied
from alphapanda.replay.sweep.ranking import SetResult, ranked

MOST_MAPS: Final = 6
MOST_CELLS: Final = 2_500


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A measure over two parameters.

    Attributes:
        strategy_type: the sets' type.
        down: parameter of the rows; empty where only one is varied.
        across: parameter of the columns.
        rows: values of `down`.
        columns: values of `across`.
        cells: by row and column the best set there; None where there is none.
        others: parameters of which each cell has the best value.
    """

    strategy_type: str
    down: str
    across: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[SetResult | None, ...], ...]
    others: tuple[str, ...]


def heat_maps(results: Sequence[SetResult], measure: str) -> list[HeatMap]:
    """The maps of every two parameters that are varied, for each strategy type; the first ones where there are many."""
    maps: list[HeatMap] = []
    for kind in dict.fromkeys(each.strategy_type for each in results):
        own = ranked([each for each in results if each.strategy_type == kind], measure)
        names = varied([each.parameters for each in own])
        pairs = list(combinations(names, 2)) if len(names) > 1 else [("", name) for name in names]
        maps += [_map(kind, own, down, across, names) for down, across in pairs]
    return [each for each in maps if len(each.rows) * len(each.columns) <= MOST_CELLS][:MOST_MAPS]


def strength(value: Number | None, values: Sequence[Number]) -> float | None:
    """Where a value lies between the worst (-1) and the best (1), with 0 at 0 if they lie on both sides of it."""
    if value is None:
        return None
    most = max(abs(float(each)) for each in values)
    if min(values) < 0 < max(values):
        return float(value) / most if most else 0.0
    low, high = float(min(values)), float(max(values))
    share = (float(value) - low) / (high - low) if high > low else 1.0
    return share if low >= 0 else share - 1.0


def _map(kind: str, own: Sequence[SetResult], down: str, across: str, names: Sequence[str]) -> HeatMap:
    rows = _values(own, down) if down else ("",)
    columns = _values(own, across)
    best: dict[tuple[str, str], SetResult] = {}
    for each in own:
        place = (each.parameters.get(down, "") if down else "", each.parameters.get(across, ""))
        best.setdefault(place, each)
    return HeatMap(
        *(kind, down, across, rows, columns),
        tuple(tuple(best.get((row, column)) for column in columns) for row in rows),
        tuple(name for name in names if name not in {down, across}),
    )


def _values(own: Sequence[SetResult], name: str) -> tuple[str, ...]:
    return tuple(sorted({each.parameters.get(name, "") for each in own}, key=_numerically))


def _numerically(text: str) -> tuple[bool, Decimal, str]:
    try:
        return False, Decimal(text), text
    except InvalidOperation:
        return True, Decimal(0), text
