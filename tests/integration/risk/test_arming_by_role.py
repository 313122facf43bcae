"""Arming over the mesh with authentication: who may, what the audit says of it, and what it is good for until the next day."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from functools import partial
from uuid import uuid4

import grpc
import pytest
import structlog
from tests.integration.risk.conftest import KEY, FakeTrading, Risk, servicer
from tests.values import replace

from alphapanda.auth.core.roles import SHIPPED_ROLES
from alphapanda.domain.order import OrderStatus
from alphapanda.mesh.access import Access
from alphapanda.mesh.certificates import service_of
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.revocations import Revocations
from alphapanda.mesh.security import ChannelSecurity
from alphapanda.mesh.server import MeshServer
from alphapanda.mesh.server_security import ServerSecurity
from alphapanda.mesh.signing_keys import secret_keys
from alphapanda.mesh.tokens import CallerKind, Claims, TokenType, TokenVerifier, signed
from alphapanda.storage.audit import AuditFilter, PostgresAudit
from alphapanda.storage.audit_trail import AuditTrail
from alphapanda.storage.kill_switch_mirror import KillSwitchMirror
from panda.options.v1.options_pb2 import Permission
from panda.risk.v1 import risk_pb2 as pb
from panda.risk.v1 import risk_pb2_grpc

SERVICE = "panda.risk.v1.RiskService"
SIGNING = secret_keys("k" * 40)[0]
LIVE = replace(KEY, broker="zerodha", account="main")
LIMITS = {"max_order_value": "10000000", "max_daily_loss": "5000", "max_daily_trades": "50"}
Stub = Callable[[str], risk_pb2_grpc.RiskServiceStub]


def _service(uris: Sequence[str]) -> str | None:
    return service_of(uris, "spiffe://alphapanda/service/{service}", ("trading",))


def token(role: str) -> str:
    """An access token of a user who is called like his only role."""
    _, names = SHIPPED_ROLES[role]
    now = int(time.time())
    permissions = frozenset(Permission.Value(f"PERMISSION_{name}") for name in names)
    claims = Claims(
        role, CallerKind.PERSON, (role,), permissions, f"session of {role}", 0, "t-1", TokenType.ACCESS, "alphapanda",
        "alphapanda", now, now + 3600,
    )  # fmt: skip
    return signed(claims, SIGNING)


@pytest.fixture
def risk(postgres_risk: Risk) -> Risk:
    """The room on PostgreSQL, where Zerodha's orders reach a real exchange."""
    postgres_risk.decisions.inputs.live = frozenset({"zerodha"})
    return postgres_risk


@pytest.fixture
async def calling(risk: Risk, mirror: KillSwitchMirror, trading: FakeTrading) -> AsyncIterator[Stub]:
    """Risk served with authentication, and its audit; a stub for each role."""
    assert risk.engine is not None
    access = Access(
        TokenVerifier([SIGNING.verifying], "alphapanda", "alphapanda", Revocations()), _service, time.time
    )
    trail = AuditTrail(risk.engine)
    await trail.start()
    add = partial(risk_pb2_grpc.add_RiskServiceServicer_to_server, servicer(risk, mirror, trading))
    log = structlog.get_logger()
    server = MeshServer("127.0.0.1", 0, [add], log, security=ServerSecurity(access=access), trail=trail)
    target = f"127.0.0.1:{await server.start()}"
    channels: list[grpc.aio.Channel] = []

    def stub(role: str) -> risk_pb2_grpc.RiskServiceStub:
        sent = token(role) if role else ""
        channels.append(open_channel(target, [SERVICE], security=ChannelSecurity(None, token=lambda: sent)))
        return risk_pb2_grpc.RiskServiceStub(channels[-1])

    yield stub
    for channel in channels:
        await channel.close()
    await server.stop(0)
    await trail.stop()


def arm(reason: str = "a drill") -> pb.ArmLiveAccountRequest:
    return pb.ArmLiveAccountRequest(request_id=str(uuid4()), broker="zerodha", reason=reason)


async def limits(calling: Stub) -> None:
    await calling("risk-manager").UpdateLimits(
        pb.UpdateLimitsRequest(
            request_id=str(uuid4()), broker="zerodha", account="main", reason="a drill", even_if_unknown=True,
            set=[pb.LimitValue(name=name, value=value) for name, value in LIMITS.items()],
        )
    )  # fmt: skip


async def code_of(call: grpc.aio.UnaryUnaryCall) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_only_who_manages_risk_arms_and_the_audit_says_who(risk: Risk, calling: Stub) -> None:
    """Each shipped role and nobody: what came of it, and a line each under the caller's own name; none arms in another's."""
    await limits(calling)
    roles = ["", "viewer", "trader", "operator", "risk-manager", "admin"]
    outcomes = {role: await code_of(calling(role).ArmLiveAccount(arm(f"by {role}"))) for role in roles}
    denied = dict.fromkeys(("viewer", "trader", "operator"), "PERMISSION_DENIED")
    assert outcomes == {"": "UNAUTHENTICATED", **denied, "risk-manager": "OK", "admin": "OK"}
    [account] = (await calling("viewer").GetLiveAccounts(pb.GetLiveAccountsRequest())).accounts
    assert (account.armed, account.changed_by, account.reason) == (True, "admin", "by admin")
    assert await code_of(calling("trader").DisarmLiveAccount(
        pb.DisarmLiveAccountRequest(request_id=str(uuid4()), broker="zerodha", reason="no")
    )) == "PERMISSION_DENIED"  # fmt: skip
    kept = await _entries(risk, f"/{SERVICE}/ArmLiveAccount", len(roles))
    assert kept == {
        "anonymous": "UNAUTHENTICATED", **denied, "risk-manager": "OK", "admin": "OK",
    }  # fmt: skip


async def _entries(risk: Risk, method: str, number: int) -> dict[str, str]:
    """Outcomes of a method's entries by caller, once all are stored."""
    assert risk.engine is not None
    async with asyncio.timeout(60):
        while True:
            found = await PostgresAudit(risk.engine).page(AuditFilter(method=method), None, 50)
            ended = {one.caller: one.outcome.outcome for one in found if one.outcome is not None}
            if len(ended) >= number:
                return ended
            await asyncio.sleep(0.05)


async def test_each_day_begins_reducing_until_somebody_arms(risk: Risk, calling: Stub) -> None:
    """Not armed, entries are refused with the command that arms, and exits pass; armed they pass; the next day begins as the first."""
    await limits(calling)
    day = risk.market.now
    assert day is not None

    async def asked(target: int, strategy_id: str) -> pb.Verdict:
        await risk.strategy(1, strategy_id=strategy_id)
        signal = risk.signal(target, replace(LIVE, strategy_id=strategy_id))
        await risk.raw(signal)
        return (await calling("viewer").GetVerdict(pb.GetVerdictRequest(signal_id=signal.signal_id))).verdict

    async def is_refused(strategy_id: str) -> None:
        verdict = await asked(10, strategy_id)
        assert (verdict.approved, verdict.reason) == (False, "NOT_ARMED")
        assert "alphapanda live arm --broker zerodha --account main" in verdict.message

    await is_refused("early")
    await calling("risk-manager").ArmLiveAccount(arm())
    assert (await asked(10, "holds")).approved
    await filled(risk)
    risk.market.now = day + timedelta(days=1)
    await is_refused("late")
    assert (await asked(0, "holds")).approved
    await filled(risk)
    await calling("risk-manager").ArmLiveAccount(arm())
    assert (await asked(10, "later")).approved


async def filled(risk: Risk) -> None:
    """The newest order fills."""
    [*_, order] = await risk.validated()
    await risk.told(order, order.quantity, OrderStatus.FILLED, 2)
