"""`alphapanda replay FILE…`: one strategy over recorded data, through the real cores."""

from __future__ import annotations

import json
import resource
import time as wall
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from alphapanda.app.replay import build_replay
from alphapanda.commands.console import USAGE, fail, out
from alphapanda.domain.calendar import CalendarNotCovered
from alphapanda.domain.errors import InvalidInput
from alphapanda.settings_sources import SettingsInvalid


def parsed_parameters(pairs: Sequence[str]) -> dict[str, str]:
    """Parameters from `name=value` texts.

    Raises:
        InvalidInput: one without "=", or a name given twice.
    """
    parameters: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidInput("-p", pair, "allowed: name=value")
        if name in parameters:
            raise InvalidInput("-p", pair, f"{name} is given twice")
        parameters[name] = value
    return parameters


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:.2f}"


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--strategy", required=True, help="type of the strategy, such as ema_cross")
@click.option("-p", "--parameter", "parameters", multiple=True, metavar="K=V", help="a parameter; repeat it")
@click.option("--instrument", help="NSE:SYMBOL, for files of bars that don't name theirs")
@click.option("--quantity", default=1, show_default=True, help="units of a full position")
@click.option("--product", default="MIS", show_default=True, help="MIS, CNC or NRML")
@click.option("--no-limits", is_flag=True, help="lift the limits on order and position quantity")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings")
@click.option("--json", "as_json", is_flag=True, help="print the summary as JSON")
def replay(
    files: tuple[Path, ...],
    strategy: str,
    parameters: tuple[str, ...],
    instrument: str | None,
    quantity: int,
    product: str,
    no_limits: bool,
    config: Path | None,
    as_json: bool,
) -> None:
    """Run a strategy over recorded ticks or bars (CSV, .gz too), with the real risk, trading and ledger."""
    try:
        run = build_replay(
            files,
            strategy_type=strategy,
            parameters=parsed_parameters(parameters),
            instrument=instrument,
            quantity=quantity,
            product=product,
            limits_enforced=not no_limits,
            config=config,
        )
        began = wall.perf_counter()
        run.replay.run(run.frames)
        seconds = wall.perf_counter() - began
        summary = summarised(run.replay, run.sanitiser.passed, run.sanitiser.counts(), seconds)
    except (InvalidInput, SettingsInvalid, CalendarNotCovered) as error:
        fail(str(error), USAGE)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        _show(summary)


def summarised(replay_run: Any, ticks: int, dropped: Mapping[str, int], seconds: float) -> dict[str, Any]:
    """The summary; the last three entries are the machine's, all others the same for the same input."""
    tally = replay_run.tally
    statement = replay_run.statement()
    return {
        "ticks": ticks,
        "dropped": dict(sorted(dropped.items())),
        "signals": tally.signals,
        "validated": tally.validated,
        "rejected": dict(sorted(tally.rejected.items())),
        "orders": tally.orders,
        "fills": tally.fills,
        "realised_pnl": _money(statement.profit.realised),
        "unrealised_pnl": _money(statement.profit.unrealised),
        "charges": _money(statement.profit.charges),
        "cash": _money(statement.cash),
        "equity": _money(statement.equity),
        "max_drawdown": _money(replay_run.tracker.max_drawdown),
        "wall_seconds": round(seconds, 6),
        "ticks_per_second": round(ticks / seconds) if seconds else 0,
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _show(summary: Mapping[str, Any]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, value in summary.items():
        shown = value
        if isinstance(value, Mapping):
            shown = ", ".join(f"{key} {count}" for key, count in value.items()) or "none"
        table.add_row(name.replace("_", " "), "unknown" if shown is None else str(shown))
    out.print(table)
