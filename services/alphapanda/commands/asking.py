"""Commands as clients: one request to a running platform, its answer as a table or as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar
from uuid import uuid4

import click
import grpc
from click.shell_completion import CompletionItem
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from rich.console import Group, RenderableType
from typing_extensions import override

from alphapanda.commands.console import fail, out, wide
from alphapanda.commands.finding import (
    BROKER_SESSION,
    Target,
    channel_to,
    find_services,
    target_option,
    why_no_answer,
)
from alphapanda.commands.last_call import LastCall
from alphapanda.mesh.status import call_failure
from panda.auth.v1.auth_pb2_grpc import AuthServiceStub
from panda.auth.v1.broker_session_pb2_grpc import BrokerSessionServiceStub
from panda.instruments.v1.instruments_pb2_grpc import InstrumentServiceStub
from panda.marketdata.v1.marketdata_pb2_grpc import MarketDataServiceStub
from panda.ops.v1.ops_pb2_grpc import OpsServiceStub
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub
from panda.strategy.v1.strategy_pb2_grpc import StrategyServiceStub
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

Answer = TypeVar("Answer")
Command = TypeVar("Command", bound=Callable[..., Any])


class Services:
    """Stubs of a platform's services, at one address or at several; each connects at its first request.

    Args:
        addresses: host:port by service.
        channels: a channel by host:port.

    Attributes:
        addresses: host:port by service.
        asked: host:port of the last request; empty before the first.
        last_call: the last request itself.
        has_token: whether requests carry a token.
    """

    def __init__(
        self,
        addresses: Mapping[str, str],
        channels: Mapping[str, grpc.aio.Channel],
        last_call: LastCall,
        *,
        has_token: bool = False,
    ) -> None:
        self.addresses = addresses
        self.asked = ""
        self.last_call = last_call
        self.has_token = has_token
        self._channels = channels

    @property
    def auth(self) -> AuthServiceStub:
        """AuthService."""
        return AuthServiceStub(self._channel("auth"))

    @property
    def broker_sessions(self) -> BrokerSessionServiceStub:
        """BrokerSessionService."""
        return BrokerSessionServiceStub(self._channel(BROKER_SESSION))

    @property
    def instruments(self) -> InstrumentServiceStub:
        """InstrumentService."""
        return InstrumentServiceStub(self._channel("instruments"))

    @property
    def market(self) -> MarketDataServiceStub:
        """MarketDataService."""
        return MarketDataServiceStub(self._channel("marketdata"))

    @property
    def ops(self) -> OpsServiceStub:
        """OpsService."""
        return self.ops_beside("ops")

    @property
    def portfolio(self) -> PortfolioServiceStub:
        """PortfolioService."""
        return PortfolioServiceStub(self._channel("portfolio"))

    @property
    def risk(self) -> RiskServiceStub:
        """RiskService."""
        return RiskServiceStub(self._channel("risk"))

    @property
    def strategy(self) -> StrategyServiceStub:
        """StrategyService."""
        return StrategyServiceStub(self._channel("strategy"))

    @property
    def trading(self) -> TradingServiceStub:
        """TradingService."""
        return TradingServiceStub(self._channel("trading"))

    def ops_beside(self, service: str) -> OpsServiceStub:
        """The OpsService of a service's own process."""
        return OpsServiceStub(self._channel(service))

    def _channel(self, service: str) -> grpc.aio.Channel:
        self.asked = self.addresses[service]
        return self._channels[self.asked]


class ListsByDefault(click.Group):
    """A group that runs its first command where none is named: `orders --json` is `orders list --json`."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = bool(args) and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        if not named and (args or not ctx.resilient_parsing):  # completing `orders ` lists all commands
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    @override
    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Completes the commands; a word that begins with "-" is completed as an option of the first command."""
        if incomplete.startswith("-"):
            return next(iter(self.commands.values())).shell_complete(ctx, incomplete)
        return super().shell_complete(ctx, incomplete)


json_option = click.option("--json", "as_json", is_flag=True, help="print the answer as JSON")


def asks(command: Command) -> Command:
    """Adds the options of every client command: --target and --json."""
    asking: Command = target_option(json_option(command))
    return asking


def even_if_unknown(command: Command) -> Command:
    """Adds --even-if-unknown, for names that don't exist yet."""
    option = click.option("--even-if-unknown", is_flag=True, help="do it even if there is no such name")
    return option(command)


def pages(command: Command) -> Command:
    """Adds the options of a list: --page-size and --page-token."""
    size = click.option(
        "--page-size",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        help="most lines  [default: the server's]",
    )
    token = click.option("--page-token", default="", help="what the page before ended with")
    return size(token(command))


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Services]:
    """Finds the addresses of the services and opens channels to them."""
    addresses = await find_services(target)
    last_call = LastCall()
    async with AsyncExitStack() as open_ones:
        channels = {
            address: await open_ones.enter_async_context(channel_to(target, address, [last_call]))
            for address in dict.fromkeys(addresses.values())
        }
        yield Services(addresses, channels, last_call, has_token=target.security.token is not None)


def ask(target: Target, question: Callable[[Services], Awaitable[Answer]]) -> Answer:
    """Returns the answer to one request; where it fails, prints why in one line and exits with code 1."""
    return asyncio.run(_answer(target, question))


def renewed_after(error: grpc.aio.AioRpcError, target: Target) -> bool:
    """Whether the call may be made again: its token was too old, and the session at this target has another one now.

    Tokens are refreshed before they expire, but the user's roles may have changed since.
    """
    if call_failure(error).reason != "TOKEN_EXPIRED":
        return False
    from alphapanda.commands.session_token import SessionToken

    token = target.security.token
    return isinstance(token, SessionToken) and token.renew()


async def _answer(target: Target, question: Callable[[Services], Awaitable[Answer]]) -> Answer:
    async with connected(target) as services:
        try:
            return await question(services)
        except grpc.aio.AioRpcError as refusal:
            error = refusal
            if renewed_after(error, target):
                try:
                    return await question(services)
                except grpc.aio.AioRpcError as again:
                    error = again
            last = services.last_call
            fail(why_no_answer(target, services.asked, error, last.method, last.request))


def show(answer: Message, *, as_json: bool, table: Callable[[], RenderableType]) -> None:
    """Prints an answer."""
    if as_json:
        click.echo(MessageToJson(answer))
    else:
        (out if out.is_terminal else wide).print(table())


def new_request_id() -> str:
    """Makes a request_id for one command."""
    return f"cli-{uuid4()}"


def page(lines: RenderableType, next_page_token: str) -> RenderableType:
    """A page of a list, with the option that gets the next one."""
    return Group(lines, "", f"more: --page-token {next_page_token}") if next_page_token else lines
