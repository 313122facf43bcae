"""`alphapanda orders protections` and `unprotect`."""

from __future__ import annotations

from collections.abc import Iterable

import click
from rich.table import Table
from rich.text import Text

from alphapanda.commands.asking import ask, asks, new_request_id, page, pages, show
from alphapanda.commands.finding import Target
from alphapanda.commands.tables import row, side, table
from alphapanda.commands.wording import amount, rupees, word
from panda.trading.v1.protections_pb2 import (
    CancelProtectionRequest,
    ListProtectionsRequest,
    PositionProtection,
)


@click.command("protections")
@click.option("--broker", default="", help="only this broker's")
@click.option("--account", default="", help="only this account's")
@click.option("--strategy", default="", help='only this strategy\'s; "manual" for yours')
@click.option("--symbol", default="", help="only this instrument's, NSE:INFY")
@click.option("--all", "ended_too", is_flag=True, help="those that have ended, too")
@pages
@asks
def list_protections(
    broker: str,
    account: str,
    strategy: str,
    symbol: str,
    page_size: int,
    page_token: str,
    target: Target,
    *,
    ended_too: bool,
    as_json: bool,
) -> None:
    """Show the stops and targets that stand by, newest first."""
    request = ListProtectionsRequest(
        broker=broker,
        account=account,
        strategy_id=strategy,
        symbol=symbol,
        ended_too=ended_too,
        page_size=page_size,
        page_token=page_token,
    )
    answer = ask(target, lambda services: services.trading.ListProtections(request))
    show(
        answer,
        as_json=as_json,
        table=lambda: page(
            _table(answer.protections) if answer.protections else "nothing is protected",
            answer.next_page_token,
        ),
    )


@click.command("unprotect")
@click.argument("order_id")
@click.option("--request-id", help="idempotency key: the same one ends it once  [default: a new one]")
@asks
def unprotect(order_id: str, request_id: str | None, target: Target, *, as_json: bool) -> None:
    """End the protection of an order's position: its stop is cancelled, its target forgotten. The position stays."""
    request = CancelProtectionRequest(request_id=request_id or new_request_id(), order_id=order_id)
    answer = ask(target, lambda services: services.trading.CancelProtection(request))
    show(answer, as_json=as_json, table=lambda: _table([answer.protection]))


def _table(protections: Iterable[PositionProtection]) -> Table:
    made = table("side", "symbol", ">stop", ">target", ">trail", "state", "strategy", "order", "")
    for one in protections:
        row(
            made,
            side(word(one, "side")),
            one.symbol,
            rupees(amount(one, "stop_trigger")),
            rupees(amount(one.wanted, "target")),
            rupees(amount(one.wanted, "trail")),
            word(one, "state"),
            Text(one.strategy_id, style="dim"),
            one.order_id,
            Text(one.message or one.reason.replace("_", " "), style="dim"),
        )
    return made
