"""Writes the report of a replay to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from alphapanda.app.assumptions import assumptions, data_recognised
from alphapanda.app.replay import ReplayRun
from alphapanda.commands.wording import numbers
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.number_text import rupees
from alphapanda.replay.curves import Curves
from alphapanda.replay.journal import ReplayJournal
from alphapanda.replay.performance import Performance
from alphapanda.replay.report.page import Report, report_html
from alphapanda.strategy.core.config import StrategyConfig

FOR_PROGRAMS: Final = frozenset(
    {
        "period",
        "assumptions",
        "figures",
        "drawdowns",
        "monthly_returns",
        "days",
        "strategies",
        "round_trips",
        "accounts",
    }
)
"""Entries of the summary that the report shows in a form of its own."""
IN_RUPEES: Final = frozenset(
    {"charges_by_line", "realised_pnl", "unrealised_pnl", "charges", "cash", "equity", "max_drawdown"}
)
"""Entries of the summary that are amounts."""
MOST_STRATEGIES: Final = 20
MOST_SYMBOLS: Final = 3


def write_report(
    file: Path,
    files: Sequence[Path],
    run: ReplayRun,
    journal: ReplayJournal,
    curves: Curves,
    found: Performance,
    summary: Mapping[str, Any],
) -> None:
    """Renders the report and writes it."""
    types = ", ".join(dict.fromkeys(each.strategy_type for each in run.strategies))
    indian = numbers.indian is not False
    lines = run.replay.statement().profit.lines
    written = assumptions(run.settings, len(run.replay.books), lines, partial(rupees, indian=indian))
    page = Report(
        title=f"{types} on {symbols([each.symbol for each in run.watched])}",
        about=[*_strategies(run), *(("file", each.name) for each in files)],
        assumptions=[
            *{**summary["assumptions"], **dict(written)}.items(),
            *data_recognised(run.data.recognised),
        ],
        summary={name: value for name, value in summary.items() if name not in FOR_PROGRAMS},
        money=IN_RUPEES,
        found=found,
        curves=curves,
        trades=journal.trades,
        first_prices=journal.first_prices,
        directory=run.directory,
        indian=indian,
    )
    file.write_text(report_html(page), encoding="utf-8")


def symbols(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - MOST_SYMBOLS
    return ", ".join(names[:MOST_SYMBOLS]) + (f" and {more} more" if more > 0 else "")


def strategy_text(config: StrategyConfig, directory: InstrumentDirectory) -> str:
    """A strategy's parameters, instruments, quantity and product in a line."""
    parameters = ", ".join(f"{name} {value}" for name, value in config.parameters.items())
    watched = [directory.by_token(each.instrument_token) for each in config.instruments]
    names = symbols([each.symbol for each in watched if each is not None])
    return (
        f"{parameters or 'no parameters'}; {config.size or config.quantity} of {names}, {config.product.name}"
    )


def _strategies(run: ReplayRun) -> list[tuple[str, str]]:
    shown = [
        (each.strategy_id, strategy_text(each, run.directory)) for each in run.strategies[:MOST_STRATEGIES]
    ]
    more = len(run.strategies) - MOST_STRATEGIES
    return [*shown, ("and", f"{more} more strategies")] if more > 0 else shown
