"""What a caller is told when a call fails."""

from __future__ import annotations

import grpc
import pytest
import sqlalchemy.exc
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2
from redis.exceptions import ConnectionError as RedisConnectionError

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.mesh.errors import AlreadyExists, FailedPrecondition, NotFound, TooMany, Unavailable
from alphapanda.mesh.status import call_failure, describe_rpc_error
from alphapanda.resilience.failures import TransientFailure
from alphapanda.storage.requests import RequestReused
from panda.instruments.v1 import instruments_pb2 as pb
from panda.risk.v1.risk_pb2 import UpdateLimitsRequest

SECRET = "postgresql://panda:hunter2@db/panda"  # pragma: allowlist secret


async def failed(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def raising(error: BaseException):
    async def handler(_request):
        raise error

    return handler


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    return status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])


async def test_a_broken_rule_names_field_value_and_what_is_allowed(mesh) -> None:
    """A request that breaks the contract is INVALID_ARGUMENT with a BadRequest that names the field."""
    error = await failed(mesh.list_instruments(pb.ListInstrumentsRequest(page_size=5000)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "page_size: 5000 is not allowed; must be less than or equal to 1000"
    info, refused = details.ErrorInfo(), details.BadRequest()
    status = status_of(error)
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("VALIDATION", "alphapanda")
    assert status.details[1].Unpack(refused)
    assert [violation.field for violation in refused.field_violations] == ["page_size"]


async def test_every_broken_rule_is_told_at_once(mesh) -> None:
    """Two broken fields are two violations of one answer."""
    from panda.risk.v1 import risk_pb2

    error = await failed(
        mesh.set_kill_switch(risk_pb2.SetKillSwitchRequest(broker="Paper!", state=1, reason="x"))
    )
    assert [name for name, _ in call_failure(error).refused] == ["request_id", "broker"]


async def test_bytes_that_are_no_request_are_refused(mesh) -> None:
    """What can't be parsed is INVALID_ARGUMENT, not an internal error."""
    call = mesh.bare().unary_unary("/panda.instruments.v1.InstrumentService/ListInstruments")
    assert call_failure(await failed(call(b"\xff\xff\xff"))).reason == "INVALID_INPUT"


@pytest.mark.parametrize(
    ("raised", "code", "reason"),
    [
        (NotFound("STRATEGY_NOT_FOUND", "there is none"), "NOT_FOUND", "STRATEGY_NOT_FOUND"),
        (AlreadyExists("NAME_TAKEN", "taken"), "ALREADY_EXISTS", "NAME_TAKEN"),
        (FailedPrecondition("STOPPED", "start it"), "FAILED_PRECONDITION", "STOPPED"),
        (Unavailable("BUSY", "later"), "UNAVAILABLE", "BUSY"),
        (TooMany("TOO_MANY_ORDERS", "later"), "RESOURCE_EXHAUSTED", "TOO_MANY_ORDERS"),
        (InvalidInput("parameters.fast", 0, "1 to 500"), "INVALID_ARGUMENT", "INVALID_INPUT"),
        (RequestReused("r-1"), "ALREADY_EXISTS", "REQUEST_ID_REUSED"),
        (ConnectionRefusedError(111, "refused"), "UNAVAILABLE", "DEPENDENCY_AWAY"),
        (TimeoutError(), "UNAVAILABLE", "DEPENDENCY_AWAY"),
        (TransientFailure("log"), "UNAVAILABLE", "DEPENDENCY_AWAY"),
        (RedisConnectionError(SECRET), "UNAVAILABLE", "DEPENDENCY_AWAY"),
        (sqlalchemy.exc.TimeoutError(SECRET), "UNAVAILABLE", "DEPENDENCY_AWAY"),
        (
            sqlalchemy.exc.DBAPIError("SELECT", {}, OSError(), connection_invalidated=True),
            "UNAVAILABLE",
            "DEPENDENCY_AWAY",
        ),
        (sqlalchemy.exc.ProgrammingError(SECRET, {}, OSError()), "INTERNAL", "INTERNAL"),
        (KeyError(SECRET), "INTERNAL", "INTERNAL"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
async def test_each_exception_has_its_status(mesh, raised, code, reason) -> None:
    """What a servicer raises decides code and reason; what may pass by waiting says so; no text of a defect leaks."""
    mesh.instruments.list = raising(raised)
    error = await failed(mesh.list_instruments(pb.ListInstrumentsRequest()))
    failure = call_failure(error)
    assert (failure.code.name, failure.reason) == (code, reason)
    assert (failure.retry_after is not None) is (code in {"UNAVAILABLE", "RESOURCE_EXHAUSTED"})
    assert "hunter2" not in repr(error)


async def test_a_defect_is_found_in_the_log_by_its_id(mesh) -> None:
    """An unknown exception gives the caller an id and the log the exception under it."""
    mesh.instruments.list = raising(KeyError("the cause"))
    error = await failed(mesh.list_instruments(pb.ListInstrumentsRequest()))
    (line,) = mesh.log.entries
    assert line["error_id"] in error.details()
    assert line["log_level"] == "error"
    assert isinstance(line["exc_info"], KeyError)
    assert "the cause" not in repr(error)


async def test_an_input_error_names_its_field(mesh) -> None:
    """A refusal of a core is a BadRequest of its field, and the text alone says it too."""
    mesh.instruments.list = raising(InvalidInput("parameters.fast", 0, "1 to 500"))
    error = await failed(mesh.list_instruments(pb.ListInstrumentsRequest()))
    assert call_failure(error).refused == (("parameters.fast", "'0' is not allowed; 1 to 500"),)
    assert error.details() == "parameters.fast: '0' is not allowed; 1 to 500"


async def test_a_failure_is_one_line_for_a_person(mesh) -> None:
    """describe_rpc_error gives message, code, reason and when to try again."""
    mesh.instruments.list = raising(Unavailable("BUSY", "the log is away"))
    error = await failed(mesh.list_instruments(pb.ListInstrumentsRequest()))
    assert describe_rpc_error(error) == "the log is away (UNAVAILABLE, BUSY); try again in 1 s"


async def test_a_server_that_is_not_there_is_named(mesh) -> None:
    """A refused connection is told as such, in one line."""
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        error = await failed(channel.unary_unary("/x/y")(b""))
    assert describe_rpc_error(error).startswith("the server can't be reached: ")


@pytest.mark.parametrize(
    "raised",
    [
        NotFound("STRATEGY_NOT_FOUND", "there is no strategy " + "😀" * 1000, strategy_id="😀" * 1000),
        InvalidInput("page_token", "😀" * 1000, "next_page_token"),
        UnknownName("symbol", "NSE:INFI", (f"NSE:SYMBOL{n}" for n in range(100_000))),
    ],
    ids=lambda raised: type(raised).__name__,
)
async def test_a_status_always_fits_in_what_a_client_takes(mesh, raised) -> None:
    """Whatever an error repeats, its caller sees the code and the reason, not a broken stream."""
    mesh.instruments.list = raising(raised)
    error = await failed(mesh.list_instruments(pb.ListInstrumentsRequest()))
    assert call_failure(error).reason in {"STRATEGY_NOT_FOUND", "INVALID_INPUT"}
    assert len(status_of(error).SerializeToString()) < 5_000
    assert len("".join(map(str, mesh.log.entries))) < 5_000


async def test_a_request_full_of_broken_items_is_refused_at_once(mesh) -> None:
    """A list longer than any may be is one violation; its items aren't looked at, as that would hold everybody up."""
    call = mesh.bare().unary_unary(
        "/panda.risk.v1.RiskService/UpdateLimits", UpdateLimitsRequest.SerializeToString
    )
    error = await failed(call(UpdateLimitsRequest(clear=["\0"] * 1_000_000)))
    assert call_failure(error).refused == (("clear", "1000000 items are not allowed; at most 1000"),)
