"""A sweep on a terminal: the ranked sets, and the windows of a walk-forward test."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alphapanda.commands.tables import row, table
from alphapanda.commands.wording import DOWN, UP, count, gain, grouped_ratio, money, rupees
from alphapanda.replay.figure import Figure, Unit
from alphapanda.replay.performance import DEFINITIONS
from alphapanda.replay.sweep.ranking import SetResult
from alphapanda.replay.sweep.trial import OutOfSample

SHOWN_SETS: Final = 20
COLUMNS: Final = ("net_pnl", "total_return", "sharpe", "max_drawdown", "round_trips", "win_rate", "charges")
COLOURED: Final = frozenset({"net_pnl", "total_return"})
JOINED: Final = ("net_pnl", "total_return", "sharpe", "max_drawdown_at_days_ends", "round_trips", "win_rate", "profit_factor", "charges")  # fmt: skip


def ranking_table(ranking: Sequence[SetResult], measure: str) -> RenderableType:
    """The best sets; figures without a value are n/a."""
    titles = [DEFINITIONS[name].title for name in COLUMNS]
    made = table(">", "set", *(f">{title}" for title in titles))
    for rank, each in enumerate(ranking[:SHOWN_SETS], 1):
        row(made, count(rank), each.name, *(figure_text(each.figures[name]) for name in COLUMNS))
    more = len(ranking) - SHOWN_SETS
    rest = [Text(f"and {count(more)} more; --csv and --json have all", style="dim")] if more > 0 else []
    return Group(Text(f"ranked by {DEFINITIONS[measure].title}", style="dim"), made, *rest)


def trials_tables(found: OutOfSample) -> RenderableType:
    """The windows, each with the set chosen by it, and the joined figures out of sample."""
    made = table("chosen by", "set", "out of sample", ">net P&L", ">round trips", ">charges")
    for each in found.tried:
        trial = each.trial
        row(
            made,
            f"{trial.first} to {trial.trained}",
            trial.chosen.name,
            f"{trial.test} to {trial.last}",
            gain(each.net_pnl),
            count(each.round_trips),
            rupees(each.charges),
        )
    joined = Table(show_header=False, box=None, pad_edge=False)
    joined.add_column(style="bold")
    joined.add_column(justify="right")
    joined.add_column(style="dim")
    for name in JOINED:
        figure = found.figures[name]
        joined.add_row(figure.definition.title, figure_text(figure), Text(figure.reason))
    return Group("", made, Text("out of sample, all windows joined", style="dim"), joined)


def figure_text(figure: Figure) -> Text:
    """A figure's value."""
    value = figure.value
    if value is None:
        return Text("n/a", style="dim")
    colour = "" if figure.name not in COLOURED or not value else UP if value > 0 else DOWN
    match figure.definition.unit:
        case Unit.FRACTION:
            return Text(f"{float(value):.2%}", style=colour)
        case Unit.RATIO:
            return Text(grouped_ratio(value), style=colour)
        case Unit.RUPEES:
            return Text(money(Decimal(value)), style=colour)
        case Unit.COUNT | Unit.TRADING_DAYS:
            return Text(count(float(value)), style=colour)
