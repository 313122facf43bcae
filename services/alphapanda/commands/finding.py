"""Finds the addresses of the services: all at one address, or each at its own in the mesh.

With `--target` every request goes to that address. Without it, a service that is served at the address of `[api]`
(that of `alphapanda up`, and of the mesh's ops) is asked there, every other one at its address in `[mesh]`.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import grpc
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from alphapanda.commands.console import USAGE, fail, refuse
from alphapanda.commands.securing import security_of, security_options
from alphapanda.commands.session_file import file_of
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.security import PLAINTEXT, ChannelSecurity
from alphapanda.mesh.status import call_failure, describe_rpc_error

EXAMPLE: Final = "127.0.0.1:50051"
TARGET_FORM: Final = re.compile(r"(dns:///)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")
HIGHEST_PORT: Final = 65_535
HEALTH_CHECK: Final = "/grpc.health.v1.Health/Check"
FINDING_SECONDS: Final = 2.0
NOBODY_ANSWERS: Final = ("timed out", "Timeout", "No route", "DNS")
"""In gRPC's words, of the last address that it tried. A refused connection isn't here: `localhost` has two addresses, and the
server may be at the other one."""
SERVICES: Final = {
    "instruments": "panda.instruments.v1.InstrumentService",
    "marketdata": "panda.marketdata.v1.MarketDataService",
    "strategy": "panda.strategy.v1.StrategyService",
    "risk": "panda.risk.v1.RiskService",
    "trading": "panda.trading.v1.TradingService",
    "portfolio": "panda.portfolio.v1.PortfolioService",
    "auth": "panda.auth.v1.AuthService",
    "ops": "panda.ops.v1.OpsService",
}
"""Full names of the services, in the order of the flow."""
BROKER_SESSION: Final = "broker-session"
EVERY: Final = {**SERVICES, BROKER_SESSION: "panda.auth.v1.BrokerSessionService"}
"""Those, and what only runs where a broker is used."""


@dataclass(frozen=True, slots=True)
class Target:
    """Addresses to try, before the services have been found.

    Attributes:
        first: host:port that is tried first.
        mesh: host:port by service, for those not served there; empty where --target was given.
        security: how to connect.
    """

    first: str
    mesh: Mapping[str, str] = field(default_factory=dict)
    security: ChannelSecurity = PLAINTEXT


async def find_services(target: Target) -> dict[str, str]:
    """Returns host:port by service: where it answers, or would answer if it ran."""
    if not target.mesh:
        return dict.fromkeys(EVERY, target.first)
    async with channel_to(target, target.first) as channel:
        served = await asyncio.gather(*(_serves(channel, name) for name in EVERY.values()))
    return {
        service: target.first if here else target.mesh.get(service, target.first)
        for service, here in zip(EVERY, served, strict=True)
    }


async def _serves(channel: grpc.aio.Channel, name: str) -> bool:
    check = channel.unary_unary(
        HEALTH_CHECK,
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    try:
        await check(HealthCheckRequest(service=name), timeout=FINDING_SECONDS)
    except grpc.aio.AioRpcError:
        return False
    return True


def channel_to(
    target: Target, address: str, interceptors: Sequence[grpc.aio.UnaryUnaryClientInterceptor] = ()
) -> grpc.aio.Channel:
    """A channel for the stubs of all services; where it may not be opened, the command ends."""
    try:
        return open_channel(address, EVERY.values(), interceptors, target.security)
    except InvalidInput as error:
        fail(str(error), USAGE)


def why_no_answer(
    target: Target,
    address: str,
    error: grpc.aio.AioRpcError,
    method: str = "",
    request: Message | None = None,
) -> str:
    """One line for a person: why a call failed, and what to do about it.

    Args:
        target: addresses that were tried.
        address: host:port of the failed call.
        error: its error.
        method: its RPC, "/package.Service/Method", where known.
        request: its request, where known.
    """
    failure = call_failure(error)
    if failure.code is grpc.StatusCode.UNAVAILABLE and not failure.reason:
        if (trouble := trouble_of(target, address, failure.message)) is not None:
            return trouble
        nothing, start = f"nothing answers on {address}", "`alphapanda up`"
        if target.mesh and address != target.first:
            nothing = f"nothing answers this on {target.first} (up), nor on {address} (mesh)"
            start = "`alphapanda up` or `alphapanda serve`"
        return f"{nothing}; start it with {start}, or say with --target where it runs"
    if failure.code is grpc.StatusCode.UNIMPLEMENTED:
        return f"what answers on {address} doesn't serve this ({failure.message}); name another with --target"
    if failure.code is grpc.StatusCode.DEADLINE_EXCEEDED and request is not None and not _has_secret(request):
        again = command_that_asks_again(target, method, request)
        if request_id := getattr(request, "request_id", ""):
            return (
                f"no answer within the deadline; it may have had its effect, and request_id {request_id} asks for its"
                f" answer: {again}"
            )
        return f"no answer within the deadline; ask again: {again}"
    return describe_rpc_error(error)


def trouble_of(target: Target, address: str, details: str) -> str | None:
    """What is wrong with a connection that gRPC only calls closed; None where nobody answers at all."""
    if any(said in details for said in NOBODY_ANSWERS):
        return None
    from alphapanda.mesh.handshake import Trouble, diagnose

    trouble, said = diagnose(address, target.security.tls, target.security.server_name)
    return None if trouble in {Trouble.NONE, Trouble.NOBODY} else said


def command_that_asks_again(target: Target, method: str, request: Message) -> str:
    """Returns the `alphapanda call` that sends this request again, for a shell."""
    body = MessageToJson(request, indent=None, preserving_proto_field_name=True)
    words = ["alphapanda", "call", method.rpartition(".")[2], body]
    return shlex.join(words if target.mesh else [*words, "--target", target.first])


def _has_secret(request: Message) -> bool:
    """Whether a request has a password or a token, which a message never shows."""
    return any(field.GetOptions().debug_redact for field, _ in request.ListFields())


def target_of(address: str | None, ctx: click.Context) -> Target:
    """The target of --target, else of the settings; invalid settings end the command."""
    if address is not None:
        return Target(address, security=_with_session(security_of(ctx, None), address))
    from alphapanda.settings.serving import MeshSettings
    from alphapanda.settings.sources import SettingsInvalid, load_settings

    try:
        settings = load_settings(os.environ, dotenv=Path(".env"))
    except SettingsInvalid as error:
        refuse(error.problems)
    mesh = settings.mesh
    places = {service: mesh.target(service) for service in SERVICES if service in MeshSettings.model_fields}
    places[BROKER_SESSION] = mesh.target("auth")
    first = f"{settings.api.host}:{settings.api.port}"
    return Target(first, places, _with_session(security_of(ctx, settings), first))


def _with_session(security: ChannelSecurity, target: str) -> ChannelSecurity:
    """How to connect, with the token of `alphapanda login` where there is one."""
    if not file_of(target).exists():  # most commands need nothing of what refreshes a token
        return security
    from alphapanda.commands.session_token import with_session

    try:
        return with_session(security, target)
    except InvalidInput as error:
        fail(str(error), USAGE)


def _checked(ctx: click.Context, _: click.Parameter, value: str | None) -> Target | None:
    if ctx.resilient_parsing:  # a shell completes: no settings are needed
        return None
    if value is not None:
        found = TARGET_FORM.fullmatch(value)
        if found is None or not 0 < int(found["port"]) <= HIGHEST_PORT:
            fail(str(InvalidInput("--target", value, f"allowed: host:port, such as {EXAMPLE}")), USAGE)
    return target_of(value, ctx)


def target_option(command: Any) -> Any:
    """Adds the options --target and of security; the command receives a `Target`."""
    return click.option(
        "--target",
        metavar="HOST:PORT",
        callback=_checked,
        help="where everything is asked  [default: where [api] and [mesh] say]",
    )(security_options(command))
