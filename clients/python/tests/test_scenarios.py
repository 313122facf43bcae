"""The scenarios' program: what it accepts and what it calls a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from alphapanda_client import PlatformError
from alphapanda_client.scenarios import replay

ALL = json.loads((Path(__file__).parents[2] / "scenarios.json").read_text())["scenarios"]


def scenario(code: str = "OK", **expect: Any) -> dict[str, Any]:
    return {"steps": [{"rpc": "a/B", "request": {}, "expect": {"code": code, **expect}}]}


@pytest.mark.parametrize(
    ("fact", "outcome"),
    [
        ({"path": "a.0.b", "equals": "x"}, "passed"),
        ({"path": "a.0.b", "equals": "y"}, "FAILED at step 1: a.0.b is x, expected y"),
        ({"path": "a.0.d", "decimal": "0.050"}, "passed"),
        ({"path": "a.0.b", "decimal": "1"}, "FAILED at step 1: a.0.b is x, expected 1"),
        ({"path": "a", "atLeast": 2}, "FAILED at step 1: a is"),
        ({"path": "a.7.b", "saveAs": "x"}, "FAILED at step 1: a.7.b is None, expected a text"),
    ],
)
def test_facts_are_held_against_the_answer(fact: dict[str, Any], outcome: str) -> None:
    """A fact that isn't so fails its step, by path, value and what was expected."""
    answer = {"a": [{"b": "x", "d": "0.05"}]}
    assert replay(scenario(facts=[fact]), lambda *_: answer).startswith(outcome)


def test_refusals_are_expected_by_code_reason_and_field() -> None:
    """A refusal passes where it was expected so; an answer where one was expected fails."""
    error = PlatformError(grpc.StatusCode.NOT_FOUND, "no", "GONE", fields={"symbol": "one of"})

    def refuse(*_: Any) -> Any:
        raise error

    assert replay(scenario("NOT_FOUND", reason="GONE", field="symbol"), refuse) == "passed"
    assert "expected the reason OTHER" in replay(scenario("NOT_FOUND", reason="OTHER"), refuse)
    assert "expected the field side" in replay(scenario("NOT_FOUND", field="side"), refuse)
    assert "was told NOT_FOUND (GONE): no" in replay(scenario(), refuse)
    assert "answered, where NOT_FOUND" in replay(scenario("NOT_FOUND"), lambda *_: {})


def test_what_a_step_keeps_later_ones_send() -> None:
    """`saveAs` and `${run}` reach the requests of later steps."""
    once = next(one for one in ALL if one["name"] == "one request_id places one order")
    sent: list[dict[str, Any]] = []

    def ask(rpc: str, request: dict[str, Any]) -> dict[str, Any]:
        sent.append(request)
        if request.get("quantity") == "11":
            raise PlatformError(grpc.StatusCode.ALREADY_EXISTS, "", "REQUEST_ID_REUSED")
        return {"order": {"state": {"quantity": "10", "orderId": "o-1"}}}

    assert replay(once, ask) == "passed"
    assert sent[-1] == {"orderId": "o-1"}
    assert "$" not in json.dumps(sent)
