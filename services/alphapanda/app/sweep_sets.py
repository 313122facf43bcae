"""The sets of a sweep: every combination of its grids that its strategy allows."""

from __future__ import annotations

from collections.abc import Sequence

from alphapanda.app.replay import WantedStrategy
from alphapanda.domain.errors import InvalidInput
from alphapanda.replay.sweep.grid import Grid
from alphapanda.strategy.core.registry import StrategyRegistry


def sets_of(
    grid: Grid, registry: StrategyRegistry, quantity: str, product: str
) -> tuple[list[WantedStrategy], list[str]]:
    """The sets of a grid, and why others are none, a line each: fast=30 can't go with slow=20.

    Args:
        grid: the grid.
        registry: the strategy types.
        quantity: of a full position as text, where the grid gives none.
        product: name of the product.

    Raises:
        UnknownName: no such type or parameter.
        InvalidInput: a value can't be used with any combination of the others; the message names it.
    """
    sets: list[WantedStrategy] = []
    left_out: list[str] = []
    used: set[tuple[str, str]] = set()
    refused: dict[tuple[str, str], InvalidInput] = {}
    for parameters in grid.sets():
        try:
            registry.parameters(grid.strategy_type, parameters)
        except InvalidInput as error:
            if error.field in {"strategy_type", "parameters"}:
                raise
            named = error.field.removeprefix("parameters.")
            for pair in parameters.items():
                # Of a combination that can't be, the parameter that the refusal names is the one to be mended.
                if pair not in refused or pair[0] == named:
                    refused[pair] = error
            left_out.append(f"{', '.join(f'{name}={value}' for name, value in parameters.items())}: {error}")
            continue
        used.update(parameters.items())
        sets.append(
            WantedStrategy(grid.strategy_type, parameters, grid.symbols, grid.quantity or quantity, product)
        )
    for (name, value), why in refused.items():
        if (name, value) not in used and why.field == f"parameters.{name}":
            raise InvalidInput(f"--grid {name}", value, f"in no set of the grid: {why.allowed}")
    if not sets:
        raise InvalidInput("--grid", grid.strategy_type, f"no set of the grid can be: {left_out[0]}")
    return sets, left_out


def require_few(grids: Sequence[Grid], others: int, most: int) -> None:
    """Raises InvalidInput where there are more sets than allowed; before any is made."""
    count = sum(len(grid) for grid in grids) + others
    if count > most:
        raise InvalidInput(
            "--grid",
            f"{count:,} sets",
            f"at most {most:,}; use larger steps or fewer parameters, or raise --max-sets",
        )
