"""Every command is in the audit: stored before its effect, its outcome after it, and refused ones too."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.message import Message
from tests.integration.mesh.kept_trail import Kept

from alphapanda.contract.method_policy import service_policies
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.bounds import CallBounds
from alphapanda.mesh.errors import Unauthenticated
from alphapanda.mesh.failures import failure_of
from alphapanda.mesh.recording import CommandRecorder, record_change
from alphapanda.mesh.status import call_failure
from alphapanda.telemetry.redaction import REDACTED
from panda.auth.v1 import auth_pb2
from panda.instruments.v1 import instruments_pb2
from panda.risk.v1 import risk_pb2, risk_pb2_grpc

SET = "/panda.risk.v1.RiskService/SetKillSwitch"
LOGIN = auth_pb2.LoginRequest(user_name="ada", password="a secret")  # pragma: allowlist secret
CHAIN = "0f0e0d0c-0b0a-4908-8706-050403020100"


@pytest.fixture
def trail() -> Kept:
    """Where the server records."""
    return Kept()


@pytest.fixture
def bounds() -> CallBounds:
    """Few commands at once."""
    return CallBounds(max_commands_per_connection=1)


async def fails(mesh, request) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.set_kill_switch(request)
    return caught.value.code()


async def test_a_command_is_recorded_before_its_effect(mesh, trail, kill_switch_request) -> None:
    """Who, from where, what and its chain are stored when the effect begins; what came of it when it ends."""

    async def effect(_request):
        (entry,) = trail.begun
        assert entry.entry_id not in trail.ended
        record_change({"state": "ACTIVE"}, risk_pb2.KillSwitch(strategy_id="ema", state=3))
        return risk_pb2.SetKillSwitchResponse(kill_switch=risk_pb2.KillSwitch(strategy_id="ema"))

    mesh.risk.set_kill_switch = effect
    await mesh.set_kill_switch(kill_switch_request, metadata=(("x-correlation-id", CHAIN),))
    (entry,) = trail.begun
    assert (entry.service, entry.method, entry.caller, entry.request_id) == ("risk", SET, "local", "r-1")
    assert entry.peer.startswith("ipv4:127.0.0.1:")
    assert entry.correlation_id == CHAIN
    assert entry.request["reason"] == "a test"
    outcome = trail.ended[entry.entry_id]
    assert (outcome.outcome, outcome.before, outcome.subjects) == ("OK", {"state": "ACTIVE"}, ["ema"])
    assert outcome.after == {"strategy_id": "ema", "state": "TRADING_STATE_HALTED"}
    assert entry.started_at <= outcome.ended_at
    assert not trail.refused


async def test_a_command_that_fails_says_why(mesh, trail, kill_switch_request) -> None:
    """Status, reason and message of the failure, without secrets; of a defect its error, which the caller doesn't get."""
    errors = [InvalidInput("reason", "Bearer hunter2", "one"), KeyError("gone")]

    async def refuse(_request):
        raise errors.pop(0)

    mesh.risk.set_kill_switch = refuse
    assert await fails(mesh, kill_switch_request) is grpc.StatusCode.INVALID_ARGUMENT
    assert await fails(mesh, kill_switch_request) is grpc.StatusCode.INTERNAL
    first, second = (trail.ended[one.entry_id] for one in trail.begun)
    assert (first.outcome, first.reason) == ("INVALID_ARGUMENT", "INVALID_INPUT")
    assert "hunter2" not in first.message
    assert (second.outcome, second.message) == ("INTERNAL", "KeyError: 'gone'")
    assert not trail.refused


async def test_without_an_entry_there_is_no_effect(mesh, trail, kill_switch_request) -> None:
    """Where the entry can't be stored the command isn't carried out, and its caller is told to try again."""
    trail.away = TimeoutError("the database doesn't answer")
    begun = []

    async def effect(request):
        begun.append(request)

    mesh.risk.set_kill_switch = effect
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.set_kill_switch(kill_switch_request)
    assert call_failure(caught.value).reason == "DEPENDENCY_AWAY"
    assert not begun
    assert [one.outcome.outcome for one in trail.refused if one.outcome] == ["UNAVAILABLE"]


async def test_an_outcome_is_recorded_though_nobody_waits(mesh, trail, kill_switch_request) -> None:
    """The caller left or its deadline passed: the outcome is that of the effect, and the call is no second entry."""
    began, let = asyncio.Event(), asyncio.Event()

    async def effect(_request):
        began.set()
        await let.wait()
        return risk_pb2.SetKillSwitchResponse()

    mesh.risk.set_kill_switch = effect
    call = mesh.set_kill_switch(kill_switch_request)
    waiting = asyncio.ensure_future(call.code())
    await began.wait()
    call.cancel()
    await waiting
    (entry,) = trail.begun
    assert not trail.ended
    let.set()
    await mesh.server.stop(5.0)  # which waits for it
    assert trail.ended[entry.entry_id].outcome == "OK"
    assert not trail.refused


async def test_a_command_that_the_stop_cuts_off_is_recorded(mesh, trail, kill_switch_request) -> None:
    """Its entry says that it didn't end."""
    began = asyncio.Event()

    async def effect(_request):
        began.set()
        await asyncio.sleep(60)

    mesh.risk.set_kill_switch = effect
    call = mesh.set_kill_switch(kill_switch_request)
    waiting = asyncio.ensure_future(call.code())
    await began.wait()
    call.cancel()
    await waiting
    await mesh.server.stop(0.1)
    (outcome,) = trail.ended.values()
    assert (outcome.outcome, outcome.reason) == ("CANCELLED", "STOPPING")


async def test_refused_commands_are_recorded(mesh, trail, kill_switch_request) -> None:
    """One that breaks the contract, one that is malformed and one too many have no effect, and each is told."""
    let = asyncio.Event()

    async def effect(_request):
        await let.wait()
        return risk_pb2.UpdateLimitsResponse()

    mesh.risk.update_limits = effect
    await fails(mesh, risk_pb2.SetKillSwitchRequest(broker="paper"))
    channel = mesh.bare()
    with pytest.raises(grpc.aio.AioRpcError):
        await channel.unary_unary(SET)(b"\xff\xff")
    update = risk_pb2.UpdateLimitsRequest(
        request_id="r", broker="paper", account="a", reason="x", clear=["max_order_value"]
    )
    stub = risk_pb2_grpc.RiskServiceStub(channel)
    running = [asyncio.ensure_future(stub.UpdateLimits(update).code()) for _ in range(2)]
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    let.set()
    await asyncio.wait(running)
    assert [(one.method.rpartition("/")[2], one.outcome.outcome) for one in trail.refused if one.outcome] == [
        ("SetKillSwitch", "INVALID_ARGUMENT"),
        ("SetKillSwitch", "INVALID_ARGUMENT"),
        ("UpdateLimits", "RESOURCE_EXHAUSTED"),
    ]
    assert trail.refused[0].request == {"broker": "paper"}
    assert [one.method.rpartition("/")[2] for one in trail.begun] == ["UpdateLimits"]


async def test_queries_and_calls_between_services_are_no_entries(mesh, trail) -> None:
    """Of a query nothing is recorded; a step of a command is found by the command's correlation id."""
    await mesh.list_instruments(instruments_pb2.ListInstrumentsRequest())
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.list_instruments(instruments_pb2.ListInstrumentsRequest(page_size=10_000_000))
    with pytest.raises(grpc.aio.AioRpcError):
        await risk_pb2_grpc.RiskServiceStub(mesh.bare()).AuthorizeOrder(risk_pb2.AuthorizeOrderRequest())
    assert not trail.begun
    assert [one.method.rpartition("/")[2] for one in trail.refused] == ["AuthorizeOrder"]


class TestStrangers:
    """What anybody may call, such as a login."""

    @pytest.fixture
    def recorder(self, trail: Kept) -> CommandRecorder:
        policy = service_policies(auth_pb2.DESCRIPTOR.services_by_name["AuthService"])["Login"]
        return CommandRecorder(policy, trail)

    async def test_a_login_that_fails_is_counted(self, recorder: CommandRecorder, trail: Kept) -> None:
        """It is no entry of its own: anybody may try without end. It is told once, also where its caller has left."""

        async def wrong() -> Message:
            raise Unauthenticated("WRONG_PASSWORD", "wrong")

        for _ in range(3):
            recorder.open()
            recorder.read(LOGIN)
            with pytest.raises(Unauthenticated):
                await recorder.effect(LOGIN, "ipv4:1", wrong)
            recorder.refused(failure_of(Unauthenticated("WRONG_PASSWORD", "wrong")), "ipv4:1")
        assert not trail.begun
        assert [one.outcome.reason for one in trail.refused if one.outcome] == ["WRONG_PASSWORD"] * 3
        assert trail.refused[0].request == {"user_name": "ada", "password": REDACTED}

    async def test_no_token_is_given_without_an_entry(self, recorder: CommandRecorder, trail: Kept) -> None:
        """A login that succeeds is stored with its outcome before its answer is given, or there is no answer."""

        async def right() -> Message:
            return auth_pb2.LoginResponse()

        recorder.open()
        await recorder.effect(LOGIN, "ipv4:1", right)
        (entry,) = trail.begun
        assert entry.outcome is not None
        assert (entry.outcome.outcome, entry.outcome.subjects) == ("OK", ["ada"])
        trail.away = OSError("away")
        recorder.open()
        with pytest.raises(OSError, match="away"):
            await recorder.effect(LOGIN, "ipv4:1", right)
