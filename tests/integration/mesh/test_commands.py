"""A command's effect outlives its caller (rule 12); a query ends with it."""

from __future__ import annotations

import asyncio
import gc

import grpc
import pytest

from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.deadlines import seconds_to_answer, seconds_to_spend
from alphapanda.mesh.status import call_failure
from alphapanda.storage.requests import RequestReused
from panda.instruments.v1 import instruments_pb2
from panda.risk.v1 import risk_pb2


class SlowEffect:
    """A command that ends when it is let; knows whether it began, ended or was cut off."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.let = asyncio.Event()
        self.ended = asyncio.Event()
        self.cancelled = False

    async def __call__(self, _request) -> risk_pb2.SetKillSwitchResponse:
        self.began.set()
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        self.ended.set()
        return risk_pb2.SetKillSwitchResponse(acknowledged_by_trading=True)


async def test_a_command_ends_though_its_caller_cancelled(mesh, kill_switch_request) -> None:
    """The client's cancellation undoes nothing."""
    effect = mesh.risk.set_kill_switch = SlowEffect()
    call = mesh.set_kill_switch(kill_switch_request)
    waiting = asyncio.ensure_future(call.code())
    await effect.began.wait()
    call.cancel()
    assert await waiting is grpc.StatusCode.CANCELLED
    await asyncio.sleep(0.1)
    effect.let.set()
    await asyncio.wait_for(effect.ended.wait(), 20)
    assert not effect.cancelled


@pytest.mark.parametrize("timeout", [0.2, None])
async def test_a_command_ends_though_its_deadline_passed(
    mesh, kill_switch_request, timeout, monkeypatch
) -> None:
    """At the deadline, the client's or the contract's default, the caller is told so; the effect goes on."""
    effect = mesh.risk.set_kill_switch = SlowEffect()
    _shorten_default(mesh, monkeypatch)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.set_kill_switch(kill_switch_request, timeout=timeout)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    effect.let.set()
    await asyncio.wait_for(effect.ended.wait(), 20)
    assert not effect.cancelled


async def test_a_failure_after_the_caller_left_is_in_the_log(mesh, kill_switch_request) -> None:
    """What nobody waits for any more isn't lost."""
    failed = asyncio.Event()

    async def fails(_request):
        await asyncio.sleep(0.3)
        failed.set()
        raise KeyError("lost")

    mesh.risk.set_kill_switch = fails
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.set_kill_switch(kill_switch_request, timeout=0.1)
    await asyncio.wait_for(failed.wait(), 20)
    await asyncio.sleep(0.05)
    line = next(line for line in mesh.log.entries if line["event"] == "command.failed_after_disconnect")
    assert line["log_level"] == "error"
    assert isinstance(line["exc_info"], KeyError)


class Call:
    """The server's side of a call without a connection."""

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def invocation_metadata(self) -> None:
        return None

    def set_trailing_metadata(self, _metadata) -> None:
        return None

    def time_remaining(self) -> None:
        return None


async def test_a_command_cancelled_as_it_fails_leaves_nothing_unread(mesh, kill_switch_request) -> None:
    """A caller that leaves at the moment of the failure: the failure is in the log, and no task's exception is lost."""
    lost: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context["message"]))

    async def fails(_request):
        serving.cancel()
        raise KeyError("lost")

    mesh.risk.set_kill_switch = fails
    guard = mesh.server._guards["panda.risk.v1.RiskService"]["SetKillSwitch"]
    serving = asyncio.create_task(guard._serve(kill_switch_request.SerializeToString(), Call()))
    with pytest.raises(asyncio.CancelledError):
        await serving
    await asyncio.sleep(0)
    gc.collect()
    assert not lost
    assert [line["event"] for line in mesh.log.entries] == ["command.failed_after_disconnect"]


async def test_stop_waits_for_commands(mesh, kill_switch_request) -> None:
    """A command whose caller has left is drained by the stop."""
    effect = mesh.risk.set_kill_switch = SlowEffect()
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.set_kill_switch(kill_switch_request, timeout=0.2)
    asyncio.get_running_loop().call_later(0.3, effect.let.set)
    await mesh.server.stop(2.0)
    assert effect.ended.is_set()


async def test_stop_does_not_wait_for_ever(mesh, kill_switch_request) -> None:
    """A command that outlasts the grace is cut off, and the log names it."""
    effect = mesh.risk.set_kill_switch = SlowEffect()
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.set_kill_switch(kill_switch_request, timeout=0.2)
    await mesh.server.stop(0.2)
    assert effect.cancelled
    (line,) = [line for line in mesh.log.entries if line["event"] == "command.cut_off"]
    assert line["method"].endswith("/SetKillSwitch")


async def test_a_query_ends_with_its_caller(mesh) -> None:
    """Nobody waits for the answer to a cancelled question."""
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def slow(_request):
        began.set()
        try:
            await asyncio.sleep(30)
        finally:
            cancelled.set()

    mesh.instruments.list = slow
    call = mesh.list_instruments(instruments_pb2.ListInstrumentsRequest())
    waiting = asyncio.ensure_future(call.code())
    await began.wait()
    call.cancel()
    await asyncio.wait_for(cancelled.wait(), 20)
    assert await waiting is grpc.StatusCode.CANCELLED


async def test_a_query_without_deadline_gets_the_contracts(mesh, monkeypatch) -> None:
    """The option's default deadline ends a question that came without one."""
    _shorten_default(mesh, monkeypatch)

    async def slow(_request):
        await asyncio.sleep(30)

    mesh.instruments.list = slow
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.list_instruments(instruments_pb2.ListInstrumentsRequest())
    assert call_failure(caught.value).reason == "DEADLINE_EXCEEDED"


async def test_a_servicer_sees_how_long_there_is(mesh, kill_switch_request) -> None:
    """A query may spend what is left; a command's caller waits so long, but its own calls aren't limited by it."""
    seen = []

    async def query(_request):
        seen.append((seconds_to_answer(), seconds_to_spend()))
        return instruments_pb2.ListInstrumentsResponse()

    async def command(_request):
        seen.append((seconds_to_answer(), seconds_to_spend()))
        return risk_pb2.SetKillSwitchResponse()

    mesh.instruments.list, mesh.risk.set_kill_switch = query, command
    await mesh.list_instruments(instruments_pb2.ListInstrumentsRequest())  # the contract's 5 s
    await mesh.list_instruments(instruments_pb2.ListInstrumentsRequest(), timeout=1)
    await mesh.set_kill_switch(kill_switch_request)
    assert [pytest.approx(answer, abs=0.3) for answer, _ in seen] == [5, 1, 5]
    assert [spend and pytest.approx(spend, abs=0.3) for _, spend in seen] == [5, 1, None]


async def test_commands_are_logged_and_quick_queries_are_not(mesh, kill_switch_request) -> None:
    """The log gets commands, errors and slow calls."""

    async def slow(_request):
        await asyncio.sleep(0.25)
        return instruments_pb2.ListInstrumentsResponse()

    await mesh.list_instruments(instruments_pb2.ListInstrumentsRequest())
    await mesh.set_kill_switch(kill_switch_request)
    mesh.instruments.list = slow
    await mesh.list_instruments(instruments_pb2.ListInstrumentsRequest())
    assert [(line["event"], line["log_level"]) for line in mesh.log.entries] == [
        ("command.completed", "info"),
        ("call.was_slow", "warning"),
    ]


async def test_a_command_says_who_gave_it_and_what_came_of_it(mesh, kill_switch_request) -> None:
    """The audit has caller, method, request_id and outcome of every command, refused ones too, and nothing it holds."""
    await mesh.set_kill_switch(kill_switch_request)

    async def refuse(_request):
        raise InvalidInput("reason", "none", "one")

    mesh.risk.set_kill_switch = refuse
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.set_kill_switch(kill_switch_request)
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.set_kill_switch(risk_pb2.SetKillSwitchRequest(broker="hunter2"))

    async def reused(_request):
        raise RequestReused("r-1")

    mesh.risk.set_kill_switch = reused
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.set_kill_switch(kill_switch_request)
    told = [(line["event"], line["caller"], line["request_id"], line["outcome"]) for line in mesh.log.entries]
    assert told == [
        ("command.completed", "local", "r-1", "OK"),
        ("command.failed", "local", "r-1", "INVALID_ARGUMENT"),
        ("command.failed", "local", "", "INVALID_ARGUMENT"),
        ("command.failed", "local", "r-1", "ALREADY_EXISTS"),
    ]
    assert {line["method"] for line in mesh.log.entries} == {"/panda.risk.v1.RiskService/SetKillSwitch"}
    assert "hunter2" not in str(mesh.log.entries)


def _shorten_default(mesh, monkeypatch) -> None:
    """Makes every guard's default deadline 0.2 s; the contract's are seconds."""
    for guard in (g for of_service in mesh.server._guards.values() for g in of_service.values()):
        monkeypatch.setattr(guard, "_default_deadline", 0.2)
