"""What a command says where no answer came in time."""

from __future__ import annotations

import shlex

import grpc
import pytest

from alphapanda.commands.call import prepared
from alphapanda.commands.finding import Target, why_no_answer
from alphapanda.mesh.failures import DeadlinePassed, failure_of
from alphapanda.mesh.metadata import STATUS_KEY
from panda.risk.v1.risk_pb2 import GetLimitsRequest, SetKillSwitchRequest

REQUEST = SetKillSwitchRequest(request_id="cli-1", broker="paper", state=3, reason="it's late")
ADDRESS = "127.0.0.1:50051"
NAMED, FOUND = Target(ADDRESS), Target(ADDRESS, {"risk": "127.0.0.1:50064"})


def late(*trailing: tuple[str, bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        grpc.StatusCode.DEADLINE_EXCEEDED, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), "Deadline"
    )


@pytest.mark.parametrize(
    "error",
    [late(), late((STATUS_KEY, failure_of(DeadlinePassed("no answer within the deadline")).status()))],
    ids=["of the client", "of the server"],
)
@pytest.mark.parametrize("target", [NAMED, FOUND], ids=["named", "found"])
def test_a_command_without_an_answer_says_how_to_ask_for_it(error, target) -> None:
    """The line has the request_id and a command for a shell that sends the same request to the same place."""
    said = why_no_answer(target, ADDRESS, error, "/panda.risk.v1.RiskService/SetKillSwitch", REQUEST)
    told, _, again = said.partition(" asks for its answer: ")
    assert told == "no answer within the deadline; it may have had its effect, and request_id cli-1"
    program, call, method, body, *more = shlex.split(again)
    assert (program, call, prepared(method, body)[1]) == ("alphapanda", "call", REQUEST)
    assert more == ([] if target is FOUND else ["--target", ADDRESS])


def test_a_query_without_an_answer_says_how_to_ask_again() -> None:
    """A query has no request_id; the line has the command alone."""
    said = why_no_answer(
        FOUND, ADDRESS, late(), "/panda.risk.v1.RiskService/GetLimits", GetLimitsRequest(broker="paper")
    )
    command = """alphapanda call RiskService/GetLimits '{"broker": "paper"}'"""
    assert said == f"no answer within the deadline; ask again: {command}"
