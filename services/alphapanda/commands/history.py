"""`alphapanda history`: downloads bars of the past from the broker, for replays and warm-ups."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from alphapanda.commands.asking import json_option
from alphapanda.commands.finding import Target, target_option

INTERVALS = ("1m", "3m", "5m", "10m", "15m", "30m", "1h", "1d")
day = click.DateTime(["%Y-%m-%d"])


@click.group()
def history() -> None:
    """Download bars of the past from the broker (Zerodha), for `replay` and for warm-ups."""


@history.command("download")
@click.argument("symbols", nargs=-1, required=True, metavar="SYMBOL...")
@click.option(
    "--interval", type=click.Choice(INTERVALS), default="1m", show_default=True, help="length of a bar"
)
@click.option("--from", "first", type=day, required=True, help="first day, such as 2025-01-01")
@click.option("--to", "last", type=day, help="last day  [default: yesterday]")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="where the files are written: NSE_INFY-1m.parquet  [default: here]",
)
@target_option
@json_option
def download(
    symbols: tuple[str, ...],
    interval: str,
    first: datetime,
    last: datetime | None,
    folder: Path,
    target: Target,
    *,
    as_json: bool,
) -> None:
    """Download bars of SYMBOL (NSE:INFY, …) into a Parquet file each.

    A platform has to run whose account is signed in at Zerodha (`alphapanda kite login`). What is there already isn't
    downloaded again: the same command goes on where it was stopped, and a later --to adds the days that are missing.
    """
    from alphapanda.commands.downloading import run_download

    run_download(
        target, symbols, interval, first.date(), last.date() if last else None, folder, as_json=as_json
    )
