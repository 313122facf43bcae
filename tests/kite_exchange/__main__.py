"""`make kite-stub`: the exchange for people, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import click
from tests.kite_exchange.exchange import APP, Exchange
from tests.kite_exchange.faults import KINDS, Fault
from tests.kite_exchange.following import Follower, feed_of
from tests.kite_exchange.listed import ROWS
from tests.kite_exchange.server import Server
from tests.kite_exchange.sessions import App

from alphapanda.domain.errors import InvalidInput

PORT = 8765


@click.command(context_settings={"auto_envvar_prefix": "KITE_STUB", "show_default": True})
@click.option("--port", type=click.IntRange(0, 65_535), default=PORT, help="0 takes a free one")
@click.option("--api-key", default=APP.api_key)
@click.option("--api-secret", default=APP.api_secret)
@click.option("--account", default=APP.user_id, help="the user id")
@click.option("--redirect-url", default=APP.redirect_url, help="where a login ends")
@click.option("--postback-url", default="", help="where order updates are posted  [default: nowhere]")
@click.option("--feed", default="sim", help="sim, or replay:FILE: what the market follows")
@click.option("--seed", default=7, help="of the simulated prices")
@click.option(
    "--clock", type=click.Choice(["wall", "market"]), default="wall",
    help="market: it is set to the feed's market time, so that sessions end in it, too",
)  # fmt: skip
@click.option("--rows", type=click.IntRange(30), default=ROWS, help="instruments listed")
@click.option("--no-limits", is_flag=True, help="count requests, but refuse none")
@click.option(
    "--ask", is_flag=True, help="a login shows a page with a button; otherwise it redirects at once"
)
@click.option("--json", "as_json", is_flag=True, help="tell the addresses as a line of JSON")
@click.option("--with-parent", is_flag=True, help="end when standard input ends")
@click.option(
    "--script", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"JSON list of faults: {', '.join(KINDS)}",
)  # fmt: skip
def main(
    port: int, api_key: str, api_secret: str, account: str, redirect_url: str, postback_url: str, feed: str, seed: int,
    clock: str, rows: int, *, no_limits: bool, ask: bool, as_json: bool, with_parent: bool, script: Path | None,
) -> None:  # fmt: skip
    """Run a stub of Zerodha's Kite Connect on 127.0.0.1; Ctrl-C ends it."""
    app = App(api_key, api_secret, account, redirect_url, postback_url)
    exchange = Exchange.of([app], rows=rows)
    exchange.logs_in = not ask
    exchange.limits.enforced = not no_limits
    try:
        if script is not None:
            exchange.script.add(Fault.parse(each) for each in json.loads(script.read_text(encoding="utf-8")))
        opened = feed_of(feed, exchange, seed=seed)
        opened.check()
    except (InvalidInput, ValueError) as error:
        raise click.ClickException(str(error)) from error
    follower = Follower(opened, exchange, clock_too=clock == "market")
    asyncio.run(_serve(Server(exchange, port), follower, app, as_json=as_json, with_parent=with_parent))


async def _serve(server: Server, follower: Follower, app: App, *, as_json: bool, with_parent: bool) -> None:
    stopped = asyncio.Event()
    if with_parent:
        asyncio.get_running_loop().add_reader(sys.stdin, lambda: sys.stdin.buffer.read1() or stopped.set())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with server:
        follower.start()
        if as_json:
            click.echo(json.dumps({"api_root": server.api_root, "ws_root": server.ws_root}))
        else:
            _tell(server, app)
        await stopped.wait()
        server.exchange.keep()
        await follower.stop()


def _tell(server: Server, app: App) -> None:
    settings = {
        "API_KEY": app.api_key, "API_SECRET": app.api_secret, "CALLBACK_URL": app.redirect_url,
        "LOGIN_ROOT": server.api_root, "API_ROOT": server.api_root, "WS_ROOT": server.ws_root,
    }  # fmt: skip
    click.echo(
        f"Kite stub on {server.api_root}, ticker on {server.ws_root}, account {app.user_id}\n"
        f"  log in at {server.login_url(app.api_key)}, which ends at {app.redirect_url}\n"
        f"  what it counts: GET {server.api_root}/stub/state; Ctrl-C ends it\n"
        f"For the platform (`alphapanda up --feed kite`, then `alphapanda kite login`):"
    )
    for name, value in settings.items():
        click.echo(f"export ALPHAPANDA_ZERODHA__{name}={value}")


if __name__ == "__main__":
    main()
