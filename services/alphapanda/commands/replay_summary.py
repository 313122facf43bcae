"""The summary of a replay on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from alphapanda.app.assumptions import ASSUMED_CHARGES
from alphapanda.commands.console import out
from alphapanda.commands.replay_report import FOR_PROGRAMS, IN_RUPEES
from alphapanda.commands.wording import count, money
from alphapanda.replay.figure import Unit

SHOWN_FIGURES: Final = (
    *("net_pnl", "total_return", "buy_and_hold_return", "cagr", "sharpe", "sortino", "max_drawdown", "calmar"),
    *("round_trips", "win_rate", "profit_factor", "average_trade", "expectancy", "time_in_market"),
)  # fmt: skip
"""Figures on a terminal; --json and the report have all."""
OF_STRATEGIES: Final = ("net_pnl", "sharpe", "round_trips", "win_rate", "profit_factor", "charges")
"""Figures of each of several strategies."""


def show_summary(summary: Mapping[str, Any]) -> None:
    """Prints counts, amounts and figures; each strategy's and each account's where there are several."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    if assumed := summary["assumptions"].get(ASSUMED_CHARGES):
        table.add_row("note", Text(f"charges: {assumed}", style="yellow"))
    for name, value in summary.items():
        if name == "charges_by_line":
            table.add_row("charges by line", Text(_charges(value, summary["charges_sureness"])))
        elif name not in FOR_PROGRAMS and name != "charges_sureness":
            table.add_row(name.replace("_", " "), Text(_shown(name, value)))
    out.print(table)
    out.print()
    figures = Table(show_header=False, box=None, pad_edge=False)
    figures.add_column(style="bold")
    figures.add_column(justify="right")
    figures.add_column(style="dim")
    for name in SHOWN_FIGURES:
        figure = summary["figures"][name]
        figures.add_row(name.replace("_", " "), Text(_figure(figure)), Text(figure.get("reason", "")))
    out.print(figures)
    if len(summary["strategies"]) > 1:
        out.print()
        out.print(_strategies_table(summary["strategies"]))
    if "accounts" in summary:
        out.print()
        out.print(_accounts_table(summary["accounts"]))


def _strategies_table(strategies: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each strategy, the best first."""
    table = Table(box=None, pad_edge=False)
    table.add_column("strategy", style="bold")
    for name in OF_STRATEGIES:
        table.add_column(name.replace("_", " "), justify="right")
    for one in sorted(strategies, key=lambda each: -Decimal(each["figures"]["net_pnl"]["value"] or 0)):
        table.add_row(one["strategy_id"], *(_figure(one["figures"][name]) for name in OF_STRATEGIES))
    return table


def _accounts_table(accounts: Mapping[str, Mapping[str, str | None]]) -> Table:
    """A row for each account, the best first."""
    table = Table(box=None, pad_edge=False)
    table.add_column("account", style="bold")
    names = ("net_pnl", "equity", "realised_pnl", "unrealised_pnl", "charges")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    ranked = sorted(accounts.items(), key=lambda one: (-Decimal(one[1]["net_pnl"] or 0), one[0]))
    for account, values in ranked:
        amounts = (values[name] for name in names)
        table.add_row(account, *("unknown" if one is None else money(Decimal(one)) for one in amounts))
    return table


def _charges(lines: Mapping[str, str], sureness: Mapping[str, str]) -> str:
    """Charges in a line each, with how sure their rates are."""
    return (
        "\n".join(
            f"{name} {money(Decimal(value))}" + (f" ({sureness[name]})" if name in sureness else "")
            for name, value in lines.items()
        )
        or "none"
    )


def _shown(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        amounts = name == "charges_by_line"
        return ", ".join(f"{key} {_one(one, amount=amounts)}" for key, one in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(value)
    if value is None:
        return "unknown"
    if name in IN_RUPEES:
        return money(Decimal(value))
    return count(value) if isinstance(value, int) else str(value)


def _one(value: Any, *, amount: bool) -> str:
    if amount:
        return money(Decimal(value))
    return count(value) if isinstance(value, int) else str(value)


def _figure(figure: Mapping[str, Any]) -> str:
    value = figure["value"]
    if value is None:
        return "n/a"
    match Unit(figure["unit"]):
        case Unit.FRACTION:
            return f"{value:.2%}"
        case Unit.RATIO:
            return f"{value:.2f}"
        case Unit.RUPEES:
            return money(Decimal(value))
        case Unit.COUNT | Unit.TRADING_DAYS:
            return count(value)
