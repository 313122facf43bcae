"""`alphapanda calendar`: the trading calendar, and a file of your own over it."""

from __future__ import annotations

from pathlib import Path

import click

from alphapanda.commands.mesh import config_option

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="of `alphapanda up`, which may hold a calendar of your own",
)


@click.group()
def calendar() -> None:
    """The trading calendar, and a file of your own over it."""


@calendar.command()
@click.option("--from", "first", metavar="DAY", help="first day, YYYY-MM-DD  [default: today]")
@click.option("--to", "last", metavar="DAY", help="last day  [default: 30 days after the first]")
@click.option("--segment", default="NSE_EQ", show_default=True, help="NSE_EQ, NSE_EQ_CAS, NSE_FO, BSE_EQ …")
@click.option("--special", is_flag=True, help="only what isn't a regular weekday or weekend")
@data_dir_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="print the days as JSON")
def show(
    first: str | None,
    last: str | None,
    segment: str,
    data_dir: Path | None,
    config: Path | None,
    *,
    special: bool,
    as_json: bool,
) -> None:
    """Show each day's sessions, how sure they are, and where that comes from."""
    from alphapanda.commands.calendar_days import show_days

    show_days(first, last, segment, data_dir, config, special=special, as_json=as_json)


@calendar.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check(file: Path) -> None:
    """Check a calendar file (TOML) and say what it changes; exit code 2 where it is wrong."""
    from alphapanda.commands.calendar_days import check_file

    check_file(file)


@calendar.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@data_dir_option
@config_option
def import_(file: Path, data_dir: Path | None, config: Path | None) -> None:
    """Check a calendar file and put it where the next start reads it: calendar.file, else the data directory."""
    from alphapanda.commands.calendar_days import import_file

    import_file(file, data_dir, config)
