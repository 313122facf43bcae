"""The options of `alphapanda replay` that make it a sweep."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

MEASURES: Final = ("net_pnl", "total_return", "sharpe", "sortino", "calmar", "max_drawdown_at_days_ends")
"""What sets may be ranked by, as in replay/sweep/ranking.py, which a help text doesn't import."""
MOST_SETS: Final = 1_000


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """What was asked about a sweep.

    Attributes:
        grids: grids of parameters as text.
        each_alone: whether each --set is a set of the sweep.
        walk_forward: windows as text; None if none are asked for.
        rank_by: one of MEASURES; None where none is named.
        csv_file: where the sets are written to as CSV.
        workers: most processes at once; None: one a core.
        max_sets: most sets.
    """

    grids: tuple[str, ...] = ()
    each_alone: bool = False
    walk_forward: str | None = None
    rank_by: str | None = None
    csv_file: Path | None = None
    workers: int | None = None
    max_sets: int = MOST_SETS

    @property
    def asked(self) -> bool:
        """Whether a sweep was asked for."""
        return bool(
            self.grids
            or self.each_alone
            or self.walk_forward
            or self.rank_by
            or self.csv_file
            or self.workers
        )

    @property
    def processes(self) -> int:
        """Most processes at once."""
        return self.workers or len(os.sched_getaffinity(0))


def sweep_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options to a command, which gets them as keywords with the names of SweepOptions."""
    for option in reversed(
        [
            click.option(
                "--grid",
                "grids",
                multiple=True,
                metavar="TYPE:k=VALUES,…[@NSE:X,…][*Q]",
                help="try every combination, each with cash of its own, and rank them; VALUES are 5, or 30,50, or 5..20:5",
            ),
            click.option(
                "--each-alone", is_flag=True, help="try each --set alone and rank them, as with --grid"
            ),
            click.option(
                "--rank-by", type=click.Choice(MEASURES), help="what sets are ranked by  [default: net_pnl]"
            ),
            click.option(
                "--walk-forward",
                metavar="TRAINd/TESTd",
                help="choose the best set on 60 trading days, try it on the next 20, and again: 60d/20d",
            ),
            click.option(
                "--csv",
                "csv_file",
                type=click.Path(path_type=Path, dir_okay=False),
                help="write the ranked sets to this CSV file",
            ),
            click.option(
                "--workers", type=click.IntRange(1, 256), help="processes of a sweep  [default: one a core]"
            ),
            click.option(
                "--max-sets",
                type=click.IntRange(1, 1_000_000),
                default=MOST_SETS,
                show_default=True,
                help="refuse a sweep of more sets",
            ),
        ]
    ):
        command = option(command)
    return command
