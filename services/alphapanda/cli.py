"""`alphapanda`: the command line."""

from __future__ import annotations

import gc
import os
from importlib import import_module
from pathlib import Path

import click
from click.shell_completion import CompletionItem
from typing_extensions import override

from alphapanda import __version__
from alphapanda.domain.errors import InvalidInput

COMMANDS = {
    "up": "run everything on this machine: PostgreSQL, Redis, the log and all services in one process",
    "doctor": "check everything a start needs, and say what to do",
    "backup": "write database and event log of a data directory to a folder, also while it runs",
    "restore": "make a data directory from a backup",
    "reconcile": "compare a broker's books with ours, list and resolve what differs; release a halted broker",
    "log": "rebuild a missing or damaged event log: log repair",
    "watch": "show strategies, positions, orders, rates and services as they change",
    "login": "sign in at a platform that asks who you are",
    "logout": "end your session and forget its tokens",
    "whoami": "show who you are, your roles and what you may do",
    "token": "print an access token, for grpcurl or a service account",
    "users": "show, create and change users, roles, sessions and service accounts",
    "kite": "sign in to Zerodha, see who is signed in and until when",
    "status": "show the state of every service",
    "strategies": "show strategies and their types; create, start, stop, change, delete them",
    "orders": "show orders, place one, square off positions",
    "positions": "show what is held",
    "report": "compare live fills with paper's: report slippage",
    "trace": "tell what happened to one order, from tick to ledger, by any id of it",
    "risk": "show limits and verdicts, show and set the kill switch",
    "instruments": "list, search and show instruments; import Kite's dump or NSE's list, add one",
    "history": "download bars of the past from the broker, for replays",
    "replay": "run the real cores over recorded data, as fast as they go",
    "new-strategy": "write the first version of a strategy of your own, and its test",
    "calendar": "show trading days and sessions; check and import a calendar of your own",
    "certs": "make certificates for trying TLS; show what a certificate says",
    "live": "show which live accounts are armed for today; arm one, disarm it",
    "settings": "show every setting, its value here and its source",
    "call": "call an RPC without grpcurl",
    "serve": "run some services in one process, on Kafka, PostgreSQL and Redis (the mesh)",
    "dlq": "show dead letters (records that could not be handled); redrive or discard them",
    "audit": "show who gave which command, from where, and what came of it",
    "topics": "create the mesh's Kafka topics: topics ensure; print their records: topics tail",
    "db": "upgrade the schema of the mesh's database: db upgrade",
}

MODULES = {"live": "live_accounts"}
"""Modules of the commands whose name is another module's."""

SERVERS = frozenset({"up", "serve"})

STARTING = 200_000
"""New objects after which Python looks for circular garbage until a start is over; its own 700 come up a thousand times."""

PLAIN_NUMBERS = "--plain-numbers"

MEANT = {
    "buy": "orders place buy",
    "sell": "orders place sell",
    "square-off": "orders square-off",
    "start": "up",
    "run": "up",
    "limits": "risk limits",
    "verdicts": "risk verdicts",
    "kill-switch": "risk kill-switch",
    "arm": "live arm",
    "disarm": "live disarm",
}
"""Words that a user may try first, and the commands they stand for."""


class Commands(click.Group):
    """Imports a command when it is used, so that `--help` and `call` don't import what `up` needs."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in SERVERS:
            os.environ.setdefault(
                "GRPC_VERBOSITY", "NONE"
            )  # a command says in its own words why it can't connect
        name = cmd_name.replace("-", "_")
        module = MODULES.get(name, name)
        command: click.Command = getattr(import_module(f"alphapanda.commands.{module}"), name)
        return command

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Takes --plain-numbers wherever it stands: it is an option of every command."""
        if PLAIN_NUMBERS in args and not ctx.resilient_parsing:
            args = [PLAIN_NUMBERS, *(each for each in args if each != PLAIN_NUMBERS)]
        return super().parse_args(ctx, args)

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in MEANT and not ctx.resilient_parsing:
            ctx.fail(f"No such command '{args[0]}'; it is `alphapanda {MEANT[args[0]]}`.")
        return super().resolve_command(ctx, args)

    @override
    def invoke(self, ctx: click.Context) -> object:
        """Runs the command; an error that it doesn't handle ends as one line, never as a traceback on the terminal."""
        # What is imported stays: looking through it for garbage is a sixth of a service's imports. What runs for long sets this
        # again once it has started (app/collecting.py).
        gc.set_threshold(STARTING, 10, 10)
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the last place that can say it in one line
            from alphapanda.commands.edge import end_unexpected

            end_unexpected(error)

    @override
    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Completes commands without importing any; a word that begins with "-" is completed as an option."""
        commands = [CompletionItem(name, help=text) for name, text in COMMANDS.items()]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [one for one in commands if one.value.startswith(incomplete)] + options

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _install_completion(ctx: click.Context, _: click.Parameter, shell: str | None) -> None:
    if shell is None or ctx.resilient_parsing:
        return
    from alphapanda.commands.completion import install_completion
    from alphapanda.commands.console import USAGE, fail

    try:
        written = install_completion(ctx.command, shell, os.environ, Path.home())
    except InvalidInput as error:
        fail(str(error), USAGE)
    for file in written:
        click.echo(f"wrote {file}")
    click.echo("open a new shell to use it")
    ctx.exit()


def _write_plain_numbers(ctx: click.Context, _: click.Parameter, plain: bool) -> None:
    if not plain or ctx.resilient_parsing:
        return
    from alphapanda.commands.wording import numbers

    numbers.indian = False
    ctx.call_on_close(numbers.reset)


@click.command(cls=Commands)
@click.version_option(__version__, prog_name="alphapanda")
@click.option(
    "--install-completion",
    is_flag=False,
    flag_value="",
    metavar="[bash|zsh|fish]",
    is_eager=True,
    expose_value=False,
    callback=_install_completion,
    help="let your shell complete commands and options with TAB, and exit  [default: for $SHELL]",
)
@click.option(
    PLAIN_NUMBERS,
    is_flag=True,
    expose_value=False,
    callback=_write_plain_numbers,
    help="write 1,000,000.00 in place of ₹10,00,000.00; stands before or after a command",
)
def main() -> None:
    """Event-driven algorithmic trading for the Indian market."""
