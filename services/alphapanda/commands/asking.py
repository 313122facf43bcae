"""How commands ask a running platform: where it is, one question, the answer as a table or as JSON."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from uuid import uuid4

import click
import grpc
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from rich.console import Group, RenderableType
from typing_extensions import override

from alphapanda.commands.console import USAGE, fail, out, wide
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.status import call_failure, describe_rpc_error
from panda.marketdata.v1.marketdata_pb2_grpc import MarketDataServiceStub
from panda.ops.v1.ops_pb2_grpc import OpsServiceStub
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub
from panda.strategy.v1.strategy_pb2_grpc import StrategyServiceStub
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

TARGET: Final = "127.0.0.1:50051"
TARGET_FORM: Final = re.compile(r"(dns:///)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")
HIGHEST_PORT: Final = 65_535
SERVICES: Final = (
    "panda.marketdata.v1.MarketDataService",
    "panda.ops.v1.OpsService",
    "panda.portfolio.v1.PortfolioService",
    "panda.risk.v1.RiskService",
    "panda.strategy.v1.StrategyService",
    "panda.trading.v1.TradingService",
)

Answer = TypeVar("Answer")
Command = TypeVar("Command", bound=Callable[..., Any])


class Services:
    """A platform's services, all at one address."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.market = MarketDataServiceStub(channel)
        self.ops = OpsServiceStub(channel)
        self.portfolio = PortfolioServiceStub(channel)
        self.risk = RiskServiceStub(channel)
        self.strategy = StrategyServiceStub(channel)
        self.trading = TradingServiceStub(channel)


class ListsByDefault(click.Group):
    """A group whose first command is meant where none is named: `orders --json` is `orders list --json`."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _checked_target(_: click.Context, __: click.Parameter, value: str) -> str:
    found = TARGET_FORM.fullmatch(value)
    if found is None or not 0 < int(found["port"]) <= HIGHEST_PORT:
        fail(str(InvalidInput("--target", value, f"allowed: host:port, such as {TARGET}")), USAGE)
    return value


target_option = click.option(
    "--target", default=TARGET, show_default=True, callback=_checked_target, help="host:port where it answers"
)
json_option = click.option("--json", "as_json", is_flag=True, help="print the answer as JSON")


def asks(command: Command) -> Command:
    """The options of every command that asks: --target and --json."""
    return target_option(json_option(command))


def pages(command: Command) -> Command:
    """The options of a list: --page-size and --page-token."""
    size = click.option(
        "--page-size",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        help="most lines  [default: the server's]",
    )
    token = click.option("--page-token", default="", help="what the page before ended with")
    return size(token(command))


@asynccontextmanager
async def connected(target: str) -> AsyncIterator[Services]:
    """The services at an address; they are reached when first asked."""
    async with open_channel(target, SERVICES) as channel:
        yield Services(channel)


def ask(target: str, question: Callable[[Services], Awaitable[Answer]]) -> Answer:
    """The answer to one question; one clear line and exit code 1 where there is none."""

    async def asked() -> Answer:
        async with connected(target) as services:
            return await question(services)

    try:
        return asyncio.run(asked())
    except grpc.aio.AioRpcError as error:
        fail(why_no_answer(target, error))


def why_no_answer(target: str, error: grpc.aio.AioRpcError) -> str:
    """One line for a person: why a call failed, and what to do about it."""
    failure = call_failure(error)
    if failure.code is grpc.StatusCode.UNAVAILABLE and not failure.reason:
        return (
            f"nothing answers on {target}; start it with `alphapanda up`, or say with --target where it runs"
        )
    if failure.code is grpc.StatusCode.UNIMPLEMENTED:
        return f"what answers on {target} doesn't serve this ({failure.message}); name another with --target"
    return describe_rpc_error(error)


def show(answer: Message, *, as_json: bool, table: Callable[[], RenderableType]) -> None:
    """Prints an answer."""
    if as_json:
        click.echo(MessageToJson(answer))
    else:
        (out if out.is_terminal else wide).print(table())


def new_request_id() -> str:
    """A request_id for one command."""
    return f"cli-{uuid4()}"


def page(lines: RenderableType, next_page_token: str) -> RenderableType:
    """A page of a list, and how to get the next one."""
    return Group(lines, "", f"more: --page-token {next_page_token}") if next_page_token else lines
