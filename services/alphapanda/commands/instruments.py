"""`alphapanda instruments`: imports, adds, lists, searches and shows instruments; a platform has to run for --target alone."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click
from click.core import ParameterSource

from alphapanda.commands.asking import ListsByDefault, json_option
from alphapanda.commands.finding import Target, target_option

config_option = click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings")
exchange_option = click.option("--exchange", default="", help="only of this exchange, such as NSE")


@click.group(cls=ListsByDefault)
def instruments() -> None:
    """List, search and show instruments; import Kite's dump or NSE's list, add one of your own.

    What is imported here is known to `replay`, `up` and `serve instruments`.
    """


@instruments.command("list")
@exchange_option
@click.option("--prefix", default="", help="only symbols that begin so")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="most lines")
@config_option
@json_option
def list_instruments(exchange: str, prefix: str, limit: int, config: Path | None, *, as_json: bool) -> None:
    """List known instruments by exchange and symbol."""
    from alphapanda.commands.registering import run_list

    run_list(exchange, prefix, limit, config, as_json=as_json)


@instruments.command("search")
@click.argument("query")
@exchange_option
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="most lines")
@config_option
@json_option
def search(query: str, exchange: str, limit: int, config: Path | None, *, as_json: bool) -> None:
    """Find instruments by a part of their symbol or name, best first."""
    from alphapanda.commands.registering import run_search

    run_search(query, exchange, limit, config, as_json=as_json)


@instruments.command("show")
@click.argument("symbol")
@config_option
@json_option
def show(symbol: str, config: Path | None, *, as_json: bool) -> None:
    """Show one instrument: token, tick size, lot, expiry."""
    from alphapanda.commands.registering import run_show

    run_show(symbol, config, as_json=as_json)


@instruments.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="the day of the file: contracts that expired before it have ended  [default: today]",
)
@click.option(
    "--allow-drops", is_flag=True, help="import it although more than 1 % of its rows can't be used"
)
@config_option
@target_option
@json_option
def import_instruments(
    file: Path,
    day: datetime | None,
    config: Path | None,
    target: Target,
    *,
    allow_drops: bool,
    as_json: bool,
) -> None:
    """Import Kite's instruments dump or NSE's EQUITY_L.csv (plain, .gz or .zip).

    Kite's dump is what https://api.kite.trade/instruments answers. With --target a platform that runs there imports it; without,
    this machine's registry, which `up` and `serve instruments` read, too.
    """
    from alphapanda.commands.registering import run_import, run_import_there

    if _is_given("target"):
        run_import_there(target, file, day.date() if day else None, allow_drops=allow_drops, as_json=as_json)
        return
    run_import(file, day.date() if day else None, config, allow_drops=allow_drops, as_json=as_json)


@instruments.command("add")
@click.argument("symbol")
@click.option("--name", help="name of the company or the underlying")
@click.option("--lot", type=int, help="units of a lot  [default: 1]")
@click.option("--tick", help="smallest price step in rupees  [default: 0.01; futures and options 0.05]")
@click.option("--expiry", type=click.DateTime(["%Y-%m-%d"]), help="last trading day of a future or an option")
@click.option("--index", is_flag=True, help="an index, which can't be traded")
@config_option
@target_option
@json_option
def add(
    symbol: str,
    name: str | None,
    lot: int | None,
    tick: str | None,
    expiry: datetime | None,
    config: Path | None,
    target: Target,
    *,
    index: bool,
    as_json: bool,
) -> None:
    """Add an instrument such as NSE:XYZ, or give a known one another lot, tick size or name.

    With --target on a platform that runs there, without on this machine.
    """
    from alphapanda.commands.registering import run_add, run_add_there

    day = expiry.date() if expiry else None
    if _is_given("target"):
        run_add_there(target, symbol, name, lot, tick, day, index=index, as_json=as_json)
        return
    run_add(symbol, name, lot, tick, day, config, index=index, as_json=as_json)


def _is_given(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is ParameterSource.COMMANDLINE
