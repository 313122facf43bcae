"""The parts of a report that need no script: tiles, figures with their definitions, months, falls, strategies, the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

from alphapanda.replay.figure import Figure, Figures, Unit
from alphapanda.replay.performance import Performance, StrategyPerformance, most_profitable_first
from alphapanda.replay.report.writing import NOT_DEFINED, Writer, day_text, percent, row, table, tone

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
HEADLINES: Final = (
    "net_pnl",
    "total_return",
    "buy_and_hold_return",
    "sharpe",
    "max_drawdown",
    "win_rate",
    "profit_factor",
    "charges",
)
GROUPS: Final = {
    "Return and risk": (
        *("total_return", "net_pnl", "buy_and_hold_return", "cagr", "volatility", "sharpe", "sortino", "calmar"),
        *("best_day", "worst_day", "trading_days"),
    ),
    "Drawdown": (
        *("max_drawdown", "max_drawdown_at_days_ends", "max_drawdown_length", "max_drawdown_recovery"),
        "longest_drawdown",
    ),
    "Round trips, after charges": (
        *("round_trips", "open_positions", "win_rate", "profit_factor", "expectancy", "average_trade"),
        *("average_win", "average_loss", "best_trade", "worst_trade"),
    ),
    "Activity and costs": ("time_in_market", "fills", "turnover", "charges"),
}  # fmt: skip
COLOURED: Final = frozenset(
    {"net_pnl", "total_return", "buy_and_hold_return", "cagr", "average_trade", "best_trade", "worst_trade"}
)
MOST_FALLS: Final = 10
STRATEGY_COLUMNS: Final = (
    *("net_pnl", "total_return", "sharpe", "max_drawdown_at_days_ends", "round_trips", "win_rate", "profit_factor"),
    *("time_in_market", "charges"),
)  # fmt: skip


def tiles(figures: Figures, writer: Writer) -> str:
    """The figures that come first."""
    shown = (figures[name] for name in HEADLINES)
    return f'<div class="tiles">{"".join(_tile(figure, writer) for figure in shown)}</div>'


def _tile(figure: Figure, writer: Writer) -> str:
    of = tone(figure.value) if figure.name in COLOURED else ""
    if figure.value is not None and figure.definition.unit is Unit.RUPEES:
        value, more = writer.short(figure.value), writer.figure(figure)
    else:
        value, more = writer.figure(figure), figure.reason
    return (
        f'<div title="{escape(figure.definition.text)}"><span>{escape(figure.definition.title)}</span>'
        f'<b class="{of}">{escape(value)}</b><small>{escape(more)}</small></div>'
    )


def figure_tables(figures: Figures, writer: Writer) -> str:
    """All figures by group, each with its definition and, where it has no value, the reason."""
    return "".join(
        f"<section><h3>{escape(title)}</h3>"
        f"{table((), (_figure_row(figures[name], writer) for name in names))}</section>"
        for title, names in GROUPS.items()
    )


def _figure_row(figure: Figure, writer: Writer) -> str:
    value = writer.figure(figure)
    if figure.reason:
        value = f"{value}: {figure.reason}"
    of = tone(figure.value) if figure.name in COLOURED else ""
    return row(figure.definition.title, (value, f"value {of}"), (figure.definition.text, "about"))


def lines(pairs: Iterable[tuple[str, str]]) -> str:
    """Names with their values."""
    return table((), (row(name, (value, "left")) for name, value in pairs))


def months(found: Performance) -> str:
    """Monthly returns, a row a year, with the year's return."""
    by_month = dict(found.monthly)
    rows = []
    for year in sorted({year for year, _ in by_month}):
        values = [by_month.get((year, month)) for month in range(1, len(MONTHS) + 1)]
        grown = 1.0
        for value in values:
            grown *= 1 + (value or 0.0)
        known = all(value is not None for (of, _), value in found.monthly if of == year)
        cells = [
            (percent(value) if (year, month) in by_month else "", _heat(value))
            for month, value in enumerate(values, 1)
        ]
        rows.append(row(str(year), *cells, (percent(grown - 1 if known else None), "total")))
    return table(("", *MONTHS, "Year"), rows)


def _heat(value: float | None) -> str:
    """The class of a month's cell: stronger where more was won or lost."""
    if not value:
        return ""
    strength = sum(abs(value) >= bound for bound in (0.0, 0.01, 0.03, 0.08))
    return f"{'up' if value > 0 else 'down'}{strength}"


def falls(found: Performance, writer: Writer) -> str:
    """The deepest falls at days' ends."""
    if not found.drawdowns:
        return '<p class="note">No trading day ended below an earlier one.</p>'
    rows = (
        row(
            day_text(fall.peak, "starting cash"),
            day_text(fall.trough, ""),
            day_text(fall.recovered, "not recovered"),
            f"{fall.depth:.2%}",
            writer.rupees(fall.rupees),
            writer.count(fall.days),
            "-" if fall.days_to_recover is None else writer.count(fall.days_to_recover),
        )
        for fall in found.drawdowns[:MOST_FALLS]
    )
    return table(("Peak", "Lowest", "Recovered", "Depth", "Fall", "Trading days", "To recover"), rows)


def strategies(found: Sequence[StrategyPerformance], writer: Writer) -> str:
    """The strategies, the most profitable first."""
    ranked = most_profitable_first(found)
    titles = (found[0].figures[name].definition.title for name in STRATEGY_COLUMNS)
    return table(("Strategy", *titles), (_strategy_row(one, writer) for one in ranked))


def _strategy_row(one: StrategyPerformance, writer: Writer) -> str:
    cells = [
        (writer.figure(figure), tone(figure.value) if figure.name in COLOURED else "")
        for figure in (one.figures[name] for name in STRATEGY_COLUMNS)
    ]
    return row(one.strategy_id, *cells)


def run_lines(summary: Mapping[str, object], money: frozenset[str], writer: Writer) -> list[tuple[str, str]]:
    """The summary's counts and amounts as lines; a count of several things has a line for each.

    Args:
        summary: entries of any form; nested counts by their names.
        money: names of the entries in rupees.
        writer: writes numbers.
    """
    shown = []
    for name, value in summary.items():
        title = name.replace("_", " ")
        if isinstance(value, Mapping):
            shown += [
                (
                    f"{title}: {key}",
                    writer.rupees(float(str(each))) if name in money else _run_value(each, writer),
                )
                for key, each in value.items()
            ]
            if not value:
                shown.append((title, "none"))
        elif name in money and value is not None:
            shown.append((title, writer.rupees(float(str(value)))))
        else:
            shown.append((title, _run_value(value, writer)))
    return shown


def _run_value(value: object, writer: Writer) -> str:
    if value is None:
        return NOT_DEFINED
    if isinstance(value, Mapping):
        return ", ".join(
            f"{name.replace('_', ' ')} {_run_value(each, writer)}" for name, each in value.items()
        )
    if isinstance(value, list):
        return "; ".join(map(str, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return writer.count(value)
    return str(value)
