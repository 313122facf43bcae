"""`alphapanda up`: everything on this machine."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alphapanda.commands.console import PORT

if TYPE_CHECKING:
    from alphapanda.commands.demo_exchange import DemoExchange


@click.command()
@click.option("--demo", is_flag=True, help="create and start a few strategies on a simulated exchange day")
@click.option(
    "--demo-zerodha",
    is_flag=True,
    help="the same on the prices of a stub of Zerodha: signs in, loads its instruments, streams its ticks; needs a checkout",
)
@click.option(
    "--feed",
    default="sim",
    show_default=True,
    help="sim, kite (live, needs zerodha.api_key), raw:FILE (recorded messages of kite), or replay:FILE[,FILE…];"
    " NSE:SYMBOL=FILE names a file's instrument",
)
@click.option("--instrument", help="NSE:SYMBOL, for a replay of bars that don't name theirs")
@click.option(
    "--speed",
    metavar="N|max",
    help="market seconds in a wall second; 0 or max: as fast as it goes  [default: 1 for sim, max for a replay]",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="FILE.parquet",
    help="record the feed in a file that isn't there yet; it is whole when this command has ended",
)
@click.option("--port", type=PORT, help="gRPC port on 127.0.0.1  [default: 50051]; 0 takes a free one")
@click.option("--data-dir", type=click.Path(path_type=Path), help="where everything is kept")
@click.option("--fresh", is_flag=True, help="start over: wipe the data directory first")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings")
@click.option(
    "--allow-drops",
    is_flag=True,
    help="replay: go on where rows were dropped, lie in no session or show a strategy nothing",
)
@click.option(
    "--auth",
    is_flag=True,
    help="callers sign in: makes a secret in the data directory and a first administrator, whose password is shown once",
)
@click.option("--plain", is_flag=True, help="on a terminal: fills as lines instead of the live view")
def up(
    demo: bool,
    demo_zerodha: bool,
    feed: str,
    instrument: str | None,
    speed: str | None,
    record: Path | None,
    port: int | None,
    data_dir: Path | None,
    fresh: bool,
    config: Path | None,
    *,
    allow_drops: bool,
    auth: bool,
    plain: bool,
) -> None:
    """Run PostgreSQL, Redis, the event log and all services in one process; Ctrl-C ends it."""
    from alphapanda.commands.running import run_up

    if demo_zerodha and feed != "sim":
        raise click.UsageError(f"--demo-zerodha has a feed of its own; leave --feed {feed} out")
    exchange: AbstractContextManager[DemoExchange | None] = nullcontext()
    if demo_zerodha:
        from alphapanda.commands.demo_exchange import started_exchange

        exchange = started_exchange()
    with exchange as started:
        run_up(
            demo=demo or demo_zerodha,
            feed="kite" if demo_zerodha else feed,
            instrument=instrument,
            speed=speed,
            record=record,
            port=port,
            data_dir=data_dir,
            fresh=fresh,
            config=config,
            allow_drops=allow_drops,
            auth=auth,
            plain=plain,
            exchange=started,
        )
