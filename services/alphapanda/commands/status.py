"""`alphapanda status`: the state of every service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import click
import grpc
from rich.console import Group, RenderableType
from rich.text import Text

from alphapanda.commands.asking import Services, ask, asks, show
from alphapanda.commands.finding import SERVICES, Target
from alphapanda.commands.status_tables import alarms, day_lines, servers_lines, services_table
from alphapanda.commands.tables import figures
from alphapanda.commands.wording import DOWN, amount, market_moment, rupees, shown_time
from alphapanda.mesh.status import call_failure, describe_rpc_error
from panda.ops.v1.ops_pb2 import (
    SERVICE_STATE_NOT_SERVING,
    GetStatusRequest,
    GetStatusResponse,
    ServiceStatus,
)
from panda.portfolio.v1.portfolio_pb2 import ListPortfoliosRequest, Portfolio

ACCOUNTS_SHOWN: Final = 5


@click.command()
@click.option("--service", default="", help="only this one")
@asks
def status(service: str, target: Target, *, as_json: bool) -> None:
    """Show the state of every service: records handled, lag, dead letters, last error."""
    answer, accounts = ask(target, lambda services: _status(services, service))
    show(answer, as_json=as_json, table=lambda: _table(answer, accounts))


async def _status(services: Services, service: str) -> tuple[GetStatusResponse, Sequence[Portfolio]]:
    """The status, and the first simulated accounts with their funds; none where one service is asked for, or portfolio is away."""
    answer = await all_status(services, service)
    if service:
        return answer, ()
    try:
        found = await services.portfolio.ListPortfolios(ListPortfoliosRequest(page_size=ACCOUNTS_SHOWN))
    except grpc.aio.AioRpcError:
        return answer, ()
    return answer, [one for one in found.portfolios if one.HasField("available")]


async def all_status(services: Services, service: str = "") -> GetStatusResponse:
    """Asks ops for the status of every service; where ops does not answer, asks each process of the mesh.

    Raises:
        AioRpcError: there is no answer from anybody, or a refusal.
    """
    try:
        return await services.ops.GetStatus(GetStatusRequest(service=service))
    except grpc.aio.AioRpcError as error:
        failure = call_failure(error)
        others = {name: at for name, at in services.addresses.items() if at != services.addresses["ops"]}
        if failure.reason or failure.code is not grpc.StatusCode.UNAVAILABLE or not others:
            raise
        away = error
    # Without a token of ours authentication is off, and nobody runs auth.
    wanted = [
        name
        for name in SERVICES
        if name in others and service in {"", name} and (name != "auth" or services.has_token)
    ]
    answered = await asyncio.gather(*(_status_of(services, name) for name in wanted))
    answers = [answer for answer in answered if isinstance(answer, GetStatusResponse)]
    if not answers:
        raise away
    merged = GetStatusResponse(version=answers[0].version)
    merged.started_at.CopyFrom(min((one.started_at for one in answers), key=lambda at: at.ToNanoseconds()))
    if clocks := [one.market_time for one in answers if one.HasField("market_time")]:
        merged.market_time.CopyFrom(max(clocks, key=lambda at: at.ToNanoseconds()))
    merged.servers.extend(server for one in answers for server in one.servers)
    merged.notices.extend(dict.fromkeys(notice for one in answers for notice in one.notices))
    for name, answer in zip(wanted, answered, strict=True):
        merged.services.extend(
            answer.services
            if isinstance(answer, GetStatusResponse)
            else [ServiceStatus(service=name, state=SERVICE_STATE_NOT_SERVING, last_error=answer)]
        )
    return merged


async def _status_of(services: Services, service: str) -> GetStatusResponse | str:
    """Asks a service for its own status; where it does not answer, the status says why."""
    try:
        return await services.ops_beside(service).GetStatus(GetStatusRequest(service=service))
    except grpc.aio.AioRpcError as error:
        return describe_rpc_error(error)


def _funds(account: Portfolio) -> Text:
    return figures(
        [
            ("account", f"{account.broker}/{account.account}"),
            ("equity", rupees(amount(account, "equity"))),
            ("cash", rupees(amount(account, "cash"))),
            ("used margin", rupees(amount(account, "used_margin"))),
            ("available", rupees(amount(account, "available"))),
        ]
    )


def _table(answer: GetStatusResponse, accounts: Sequence[Portfolio]) -> RenderableType:
    about = figures(
        [
            ("alphapanda", answer.version),
            ("since", shown_time(market_moment(answer, "started_at"), "%d %b %H:%M:%S IST")),
            ("market time", shown_time(market_moment(answer, "market_time"), "%a %d %b %Y %H:%M:%S IST")),
        ]
    )
    lines = [
        *(Text(alarm, style=DOWN) for alarm in alarms(answer)),
        *(Text(notice, style="yellow") for notice in answer.notices),
        *servers_lines(answer.servers),
        *day_lines(answer),
        *(_funds(account) for account in accounts),
    ]
    return Group(about, "", services_table(answer.services), *[""] * bool(lines), *lines)
