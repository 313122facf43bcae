"""`alphapanda replay FILE…`: runs strategies over recorded data, with the real risk, trading and portfolio cores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from alphapanda.commands.parameters import parameters_option
from alphapanda.commands.reading import reading_options
from alphapanda.commands.sweep_options import SweepOptions, sweep_options


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--strategy", help="type of the strategy, such as ema_cross")
@parameters_option
@click.option("--instrument", help="NSE:SYMBOL, for files of bars that don't name theirs")
@reading_options
@click.option(
    "--quantity",
    default="1",
    show_default=True,
    help="a full position: units (100), rupees (50000INR) or percent of the balance (10%)",
)
@click.option("--product", default="MIS", show_default=True, help="MIS, CNC or NRML")
@click.option(
    "--set", "sets", multiple=True, metavar="TYPE[:k=v,…][@NSE:X,…][*Q]", help="one of several strategies"
)
@click.option(
    "--own-account",
    metavar="CASH",
    help="give each strategy an account of its own with this cash in rupees  [default: all share one]",
)
@click.option("--from", "first_day", metavar="DAY", help="first day to replay, YYYY-MM-DD")
@click.option("--to", "last_day", metavar="DAY", help="last day to replay, YYYY-MM-DD")
@click.option("--no-limits", is_flag=True, help="lift the limits of the settings")
@click.option(
    "--limits",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML or YAML file with limits by account, strategy and instrument",
)
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings")
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="write an HTML report to this file"
)
@click.option(
    "--trades", type=click.Path(path_type=Path, dir_okay=False), help="write the fills to this CSV file"
)
@click.option(
    "--strategies-folder",
    type=click.Path(path_type=Path),
    help="folder with your own strategies  [default: the setting strategy.folder]",
)
@click.option(
    "--allow-drops",
    is_flag=True,
    help="go on where rows were dropped, lie in no session or show a strategy nothing  [default: an error]",
)
@click.option(
    "--fill",
    type=click.Choice(["next_open", "close"]),
    help="when orders on bars fill: at the open of the instrument's next bar, or at once at the known bar's close; on"
    " ticks at once  [default: the setting paper_trading.fill, next_open]",
)
@sweep_options
@click.option("--json", "as_json", is_flag=True, help="print the summary as JSON")
def replay(
    files: tuple[Path, ...],
    strategy: str | None,
    parameters: tuple[str, ...],
    instrument: str | None,
    quantity: str,
    product: str,
    sets: tuple[str, ...],
    own_account: str | None,
    first_day: str | None,
    last_day: str | None,
    no_limits: bool,
    limits: Path | None,
    config: Path | None,
    report: Path | None,
    trades: Path | None,
    strategies_folder: Path | None,
    fill: str | None,
    as_json: bool,
    allow_drops: bool,
    reading: Mapping[str, object],
    **of_sweep: Any,
) -> None:
    """Run strategies over recorded ticks, bars or frames (CSV, .gz too, Parquet), with the real risk, trading and ledger.

    FILE may be NSE:SYMBOL=FILE, for bars that don't name their instrument.
    """
    from alphapanda.commands.replaying import run_replay

    run_replay(
        files=files,
        strategy=strategy,
        parameters=parameters,
        instrument=instrument,
        quantity=quantity,
        product=product,
        sets=sets,
        own_account=own_account,
        first_day=first_day,
        last_day=last_day,
        no_limits=no_limits,
        limits=limits,
        config=config,
        report=report,
        trades=trades,
        strategies_folder=strategies_folder,
        fill=fill,
        as_json=as_json,
        allow_drops=allow_drops,
        reading=reading,
        options=SweepOptions(**of_sweep),
    )
