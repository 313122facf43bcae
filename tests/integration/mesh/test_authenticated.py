"""A server with authentication on real sockets: tokens, certificates, watches, health and reflection, who did it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import grpc
import pytest
import structlog
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import LogCapture
from tests.integration.mesh.kept_trail import Kept
from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.access import Access
from alphapanda.mesh.bounds import CallBounds
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.certificates import service_of
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.dev_certificates import new_authority, new_certificate
from alphapanda.mesh.revocations import Revocation, Revocations
from alphapanda.mesh.security import ChannelSecurity
from alphapanda.mesh.server import MeshServer
from alphapanda.mesh.server_security import ServerSecurity
from alphapanda.mesh.signing_keys import secret_keys
from alphapanda.mesh.status import call_failure
from alphapanda.mesh.tls import TlsFiles, TlsMaterial
from alphapanda.mesh.tokens import CallerKind, Claims, TokenType, TokenVerifier, signed
from panda.marketdata.v1 import marketdata_pb2, marketdata_pb2_grpc
from panda.options.v1 import options_pb2 as options
from panda.risk.v1 import risk_pb2, risk_pb2_grpc

SERVICES = ("panda.risk.v1.RiskService", "panda.marketdata.v1.MarketDataService")
KEY = secret_keys("k" * 40)[0]
SWITCH = risk_pb2.SetKillSwitchRequest(request_id="r-1", broker="paper", state=1, reason="a test")


class Risk(risk_pb2_grpc.RiskServiceServicer):
    """Says who calls."""

    def __init__(self) -> None:
        self.callers: list[str] = []

    @override
    async def SetKillSwitch(self, request, context):
        self.callers.append(current_caller.get())
        return risk_pb2.SetKillSwitchResponse()

    @override
    async def GetLimits(self, request, context):
        return risk_pb2.GetLimitsResponse()

    @override
    async def AuthorizeOrder(self, request, context):
        self.callers.append(current_caller.get())
        return risk_pb2.AuthorizeOrderResponse()


class Market(marketdata_pb2_grpc.MarketDataServiceServicer):
    """Prices without end."""

    @override
    async def WatchQuotes(self, request, context):
        while True:
            yield marketdata_pb2.WatchQuotesResponse()
            await asyncio.sleep(0.02)


def token(*permissions: int, subject: str = "ravi", seconds: int = 600) -> str:
    now = int(time.time())
    return signed(
        Claims(
            subject=subject,
            kind=CallerKind.PERSON,
            roles=("some",),
            permissions=frozenset(permissions),
            session_id=f"session of {subject}",
            generation=0,
            token_id="t-1",
            type=TokenType.ACCESS,
            issuer="alphapanda",
            audience="alphapanda",
            issued_at=now,
            expires_at=now + seconds,
        ),
        KEY,
    )


@dataclass
class Served:
    """The server and how to call it."""

    revocations: Revocations
    log: LogCapture
    risk: Risk
    target: str = ""
    trail: Kept = field(default_factory=Kept)
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def channel(self, sent: str = "", tls: TlsMaterial | None = None) -> grpc.aio.Channel:
        security = ChannelSecurity(tls, token=lambda: sent)
        self.channels.append(open_channel(self.target, SERVICES, security=security))
        return self.channels[-1]

    def risk_of(self, sent: str = "", tls: TlsMaterial | None = None) -> risk_pb2_grpc.RiskServiceStub:
        return risk_pb2_grpc.RiskServiceStub(self.channel(sent, tls))


def service(uris):
    return service_of(uris, "spiffe://alphapanda/service/{service}", ("trading",))


async def serve(security: ServerSecurity, served: Served) -> MeshServer:
    log = structlog.wrap_logger(
        None, processors=[served.log], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    server = MeshServer(
        "127.0.0.1",
        0,
        [
            partial(risk_pb2_grpc.add_RiskServiceServicer_to_server, served.risk),
            partial(marketdata_pb2_grpc.add_MarketDataServiceServicer_to_server, Market()),
        ],
        log,
        bounds=CallBounds(max_requests_per_second=2),
        security=security,
        trail=served.trail,
    )
    served.server, served.target = server, f"127.0.0.1:{await server.start()}"
    return server


def access(revocations: Revocations) -> Access:
    verifier = TokenVerifier([KEY.verifying], "alphapanda", "alphapanda", revocations)
    return Access(verifier, service, time.time)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served(Revocations(), LogCapture(), Risk())
    server = await serve(ServerSecurity(access=access(made.revocations)), made)
    yield made
    for channel in made.channels:
        await channel.close()
    await server.stop(0)


async def failure_of(call) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    failure = call_failure(failed.value)
    return failure.code, failure.reason


async def code_of(call) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_who_gave_a_command_reaches_the_servicer_and_the_log(served: Served) -> None:
    """The command runs as its caller; a refusal is logged with the caller and what is missing, and has no effect."""
    await served.risk_of(token(options.PERMISSION_MANAGE_RISK)).SetKillSwitch(SWITCH)
    denied = served.risk_of(token(options.PERMISSION_READ, subject="meera")).SetKillSwitch(SWITCH)
    assert await failure_of(denied) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")
    assert served.risk.callers == ["ravi"]
    commands = [line for line in served.log.entries if line["event"].startswith("command.")]
    assert [(line["caller"], line["request_id"], line["outcome"]) for line in commands] == [
        ("ravi", "r-1", "OK"),
        ("meera", "r-1", "PERMISSION_DENIED"),
    ]


async def test_commands_that_are_refused_are_in_the_audit(served: Served) -> None:
    """Who isn't known, and who lacks the permission, with what was asked for; of questions nothing is recorded."""
    await served.risk_of(token(options.PERMISSION_MANAGE_RISK)).SetKillSwitch(SWITCH)
    await code_of(served.risk_of().SetKillSwitch(SWITCH))
    await code_of(served.risk_of(token(options.PERMISSION_READ, subject="meera")).SetKillSwitch(SWITCH))
    await code_of(served.risk_of().GetLimits(risk_pb2.GetLimitsRequest()))
    assert [one.caller for one in served.trail.begun] == ["ravi"]
    refused = [
        (one.caller, one.outcome.outcome, one.outcome.reason) for one in served.trail.refused if one.outcome
    ]
    assert refused == [
        ("anonymous", "UNAUTHENTICATED", "TOKEN_MISSING"),
        ("meera", "PERMISSION_DENIED", "PERMISSION_MISSING"),
    ]
    assert served.trail.refused[1].request_id == "r-1"


async def test_without_a_token_nothing_is_answered_but_health(served: Served) -> None:
    """Calls of every kind and reflection need one; whether the process lives is told to everybody."""
    channel = served.channel()
    risk, market = risk_pb2_grpc.RiskServiceStub(channel), marketdata_pb2_grpc.MarketDataServiceStub(channel)
    missing = (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    assert await failure_of(risk.GetLimits(risk_pb2.GetLimitsRequest())) == missing
    assert await failure_of(risk.SetKillSwitch(SWITCH)) == missing
    assert await failure_of(anext(aiter(market.WatchQuotes(marketdata_pb2.WatchQuotesRequest())))) == missing
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    assert (await failure_of(anext(aiter(reflection.ServerReflectionInfo(iter([asked]))))))[
        1
    ] == "TOKEN_MISSING"
    health = health_pb2_grpc.HealthStub(channel)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status
    assert served.risk.callers == []
    counted = served.server.admission.refused
    assert counted["TOKEN_MISSING", "/panda.risk.v1.RiskService/GetLimits"] == 1


@pytest.mark.parametrize("name", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
async def test_reflection_is_for_who_may_read(served: Served, name: str) -> None:
    """Under both of its names it lists the services to a token that may read, and describes a method of its own; another is refused."""

    def ask(sent: str, **asked: str):
        # Its stream has two directions, which our channels don't have: the token is sent as grpcurl does.
        call = served.channel().stream_stream(
            f"/{name}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        request = reflection_pb2.ServerReflectionRequest(**asked)
        return anext(aiter(call(iter([request]), metadata=(("authorization", f"Bearer {sent}"),))))

    reader = token(options.PERMISSION_READ)
    listed = (await ask(reader, list_services="")).list_services_response.service
    assert {SERVICES[0], f"{name}.ServerReflection"} <= {one.name for one in listed}
    described = await ask(reader, file_containing_symbol=f"{name}.ServerReflection.ServerReflectionInfo")
    (text,) = described.file_descriptor_response.file_descriptor_proto
    assert FileDescriptorProto.FromString(text).package == name
    denied = await failure_of(ask(token(options.PERMISSION_TRADE), list_services=""))
    assert denied == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")


async def test_a_watch_ends_when_its_token_is_revoked(served: Served, monkeypatch) -> None:
    """Prices flow no longer to whose session was ended; the status says why."""
    monkeypatch.setattr("alphapanda.mesh.guard.WATCH_CHECK_SECONDS", 0.05)
    market = marketdata_pb2_grpc.MarketDataServiceStub(served.channel(token(options.PERMISSION_READ)))
    watch = aiter(market.WatchQuotes(marketdata_pb2.WatchQuotesRequest()))
    for _ in range(5):
        await anext(watch)
    revoked = Revocation(session_id="session of ravi", forget_at=time.time() + 600)
    served.revocations.apply([revoked], time.time())

    async def until_it_ends() -> None:
        async for _ in watch:
            pass

    assert await failure_of(asyncio.wait_for(until_it_ends(), 5)) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "TOKEN_REVOKED",
    )


async def test_a_person_who_asks_too_often_is_refused_over_all_connections_but_may_stop_trading(
    served: Served,
) -> None:
    """More requests a second than the setting allows are refused, whatever connection they come over; a kill switch passes, and so do others."""
    both = token(options.PERMISSION_READ, options.PERMISSION_MANAGE_RISK)
    metadata = (("authorization", f"Bearer {both}"),)
    limits = risk_pb2.GetLimitsRequest()
    answers = []
    for _ in range(2):
        # Two connections that don't send refused calls again by themselves, as ours do.
        alone = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))
        channel = grpc.aio.insecure_channel(served.target, options=alone)
        served.channels.append(channel)
        stub = risk_pb2_grpc.RiskServiceStub(channel)
        calls = [stub.GetLimits(limits, metadata=metadata) for _ in range(40)]
        answers += [await code_of(call) for call in calls]
    assert 4 <= answers.count(grpc.StatusCode.OK) < len(answers)
    assert set(answers) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    await stub.SetKillSwitch(SWITCH, metadata=metadata)
    await served.risk_of(token(options.PERMISSION_READ, subject="meera")).GetLimits(limits)


async def test_a_service_calls_with_its_certificate(tmp_path) -> None:
    """Over mTLS the certificate's URI is the caller, for calls between services alone; a certificate without one needs a token."""
    now = datetime.now(UTC)
    authority = new_authority(now, 10)
    (tmp_path / "ca.pem").write_bytes(authority.certificate)

    def material(name: str, uri: str = "") -> TlsMaterial:
        pair = new_certificate(authority, name, now, 1, hosts=("127.0.0.1",), uri=uri)
        files = TlsFiles(tmp_path / f"{name}.pem", tmp_path / f"{name}.key", tmp_path / "ca.pem")
        files.certificate.write_bytes(pair.certificate)
        files.key.write_bytes(pair.key)
        return TlsMaterial(files)

    made = Served(Revocations(), LogCapture(), Risk())
    demanded = ServerSecurity(material("server"), client_certificates=True, access=access(made.revocations))
    server = await serve(demanded, made)
    trading = made.risk_of("", material("trading", "spiffe://alphapanda/service/trading"))
    person = made.risk_of("", material("person"))
    with_token = made.risk_of(token(options.PERMISSION_MANAGE_RISK), material("other"))
    order = risk_pb2.AuthorizeOrderRequest()
    assert (await failure_of(trading.AuthorizeOrder(order)))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert (await failure_of(trading.SetKillSwitch(SWITCH)))[1] == "PERMISSION_MISSING"
    assert (await failure_of(person.GetLimits(risk_pb2.GetLimitsRequest())))[1] == "TOKEN_MISSING"
    assert (await failure_of(with_token.AuthorizeOrder(order)))[1] == "PERMISSION_MISSING"
    await with_token.SetKillSwitch(SWITCH)
    assert made.risk.callers == ["ravi"]
    for channel in made.channels:
        await channel.close()
    await server.stop(0)


def test_a_token_does_not_leave_the_machine_in_plaintext() -> None:
    """A channel with a token to another machine needs TLS."""
    security = ChannelSecurity(token=lambda: "secret")
    for target in ("panda.example:50051", "dns:///panda:50051", "192.0.2.1:50051"):
        with pytest.raises(InvalidInput, match="must not travel in plaintext"):
            open_channel(target, (), security=security)
