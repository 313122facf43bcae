"""`alphapanda status`: how every service stands."""

from __future__ import annotations

import click
from rich.console import Group, RenderableType

from alphapanda.commands.asking import ask, asks, show
from alphapanda.commands.tables import figures, services_table
from alphapanda.commands.wording import market_moment, shown_time
from panda.ops.v1.ops_pb2 import GetStatusRequest, GetStatusResponse


@click.command()
@click.option("--service", default="", help="only this one")
@asks
def status(service: str, target: str, *, as_json: bool) -> None:
    """Show how every service stands: state, what it handled, lag, dead letters, last error."""
    answer = ask(target, lambda services: services.ops.GetStatus(GetStatusRequest(service=service)))
    show(answer, as_json=as_json, table=lambda: _table(answer))


def _table(answer: GetStatusResponse) -> RenderableType:
    about = figures(
        [
            ("alphapanda", answer.version),
            ("since", shown_time(market_moment(answer, "started_at"), "%d %b %H:%M:%S IST")),
            ("market time", shown_time(market_moment(answer, "market_time"), "%a %d %b %Y %H:%M:%S IST")),
        ]
    )
    return Group(about, "", services_table(answer.services))
