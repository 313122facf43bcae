"""`alphapanda positions`: lists positions."""

from __future__ import annotations

import click
import grpc
from rich.console import Group, RenderableType
from rich.text import Text

from alphapanda.commands.asking import Services, ask, asks, page, pages, show
from alphapanda.commands.finding import Target
from alphapanda.commands.order_tables import by_line, positions_table
from alphapanda.commands.risk_tables import funds_line
from panda.portfolio.v1.portfolio_pb2 import ListPositionsRequest, ListPositionsResponse
from panda.risk.v1.risk_pb2 import Funds, GetExposureRequest


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
    """List the positions held, marked at the last prices, and all charges so far by line."""
    request = ListPositionsRequest(
        broker=broker,
        account=account,
        strategy_id=strategy,
        include_flat=flat,
        page_size=page_size,
        page_token=page_token,
    )
    answer, funds = ask(target, lambda services: _positions(services, request))
    held = _held(answer)
    show(
        answer,
        as_json=as_json,
        table=lambda: page(
            held if funds is None else Group(funds_line(funds), "", held), answer.next_page_token
        ),
    )


async def _positions(
    services: Services, request: ListPositionsRequest
) -> tuple[ListPositionsResponse, Funds | None]:
    """The positions, and the account's funds; None at a live broker, or where risk doesn't answer."""
    answer = await services.portfolio.ListPositions(request)
    try:
        exposure = await services.risk.GetExposure(
            GetExposureRequest(broker=request.broker, account=request.account)
        )
    except grpc.aio.AioRpcError:
        return answer, None
    return answer, exposure.funds if exposure.HasField("funds") else None


def _held(answer: ListPositionsResponse) -> RenderableType:
    held: RenderableType = positions_table(answer.positions) if answer.positions else "nothing is held"
    if not answer.charge_lines:
        return held
    return Group(held, Text(f"charges so far: {by_line(answer.charge_lines)}", style="dim"))
