"""`alphapanda positions`: lists positions."""

from __future__ import annotations

import click

from alphapanda.commands.asking import ask, asks, page, pages, show
from alphapanda.commands.finding import Target
from alphapanda.commands.tables import positions_table
from panda.portfolio.v1.portfolio_pb2 import ListPositionsRequest


@click.command()
@click.option("--broker", default="", help="[default: paper]")
@click.option("--account", default="", help="[default: default]")
@click.option("--strategy", default="", help="only this strategy's")
@click.option("--flat", is_flag=True, help="flat positions too")
@pages
@asks
def positions(
    broker: str,
    account: str,
    strategy: str,
    page_size: int,
    page_token: str,
    target: Target,
    *,
    flat: bool,
    as_json: bool,
) -> None:
    """List the positions held, marked at the last prices."""
    request = ListPositionsRequest(
        broker=broker,
        account=account,
        strategy_id=strategy,
        include_flat=flat,
        page_size=page_size,
        page_token=page_token,
    )
    answer = ask(target, lambda services: services.portfolio.ListPositions(request))
    show(
        answer,
        as_json=as_json,
        table=lambda: page(
            positions_table(answer.positions) if answer.positions else "nothing is held",
            answer.next_page_token,
        ),
    )
