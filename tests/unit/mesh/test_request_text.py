"""A request in the audit: by the contract's names, without secrets, of a bounded size."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.timestamp_pb2 import Timestamp

from alphapanda.mesh.request_text import LONGEST_TEXT, MOST_ITEMS, plain_text, request_fields, subjects
from alphapanda.telemetry.redaction import REDACTED
from panda.events.v1 import orders_pb2
from panda.ops.v1 import ops_pb2
from panda.risk.v1 import risk_pb2
from panda.strategy.v1 import strategy_pb2
from panda.trading.v1 import trading_pb2


@pytest.fixture(scope="module")
def login() -> type:
    """A request with secrets by name and by option, alone and in a list."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="t/login.proto", package="t", syntax="proto3")
    inner = file.message_type.add(name="Part")
    inner.field.add(
        name="pin", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL
    ).options.debug_redact = True
    made = file.message_type.add(name="Login")
    made.field.add(name="user", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    made.field.add(name="password", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    made.field.add(
        name="code", number=3, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL
    ).options.debug_redact = True
    made.field.add(
        name="part", number=4, type=field.TYPE_MESSAGE, type_name=".t.Part", label=field.LABEL_OPTIONAL
    )
    made.field.add(
        name="parts", number=5, type=field.TYPE_MESSAGE, type_name=".t.Part", label=field.LABEL_REPEATED
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Login"))


def test_secrets_are_left_out(login: type) -> None:
    """By the field's name, and where the contract says debug_redact, at any depth."""
    part = {"pin": "hunter2"}
    shown = request_fields(
        login(
            user="ada",
            password="hunter2",  # pragma: allowlist secret
            code="hunter2",
            part=part,
            parts=[part, part],
        )
    )
    assert shown == {
        "user": "ada",
        "password": REDACTED,
        "code": REDACTED,
        "part": {"pin": REDACTED},
        "parts": [{"pin": REDACTED}, {"pin": REDACTED}],
    }


def test_a_secret_in_a_text_is_left_out() -> None:
    """A reason that quotes a password or a token is kept without it."""
    shown = request_fields(
        trading_pb2.SquareOffRequest(reason="as redis://:hunter2@cache said, Bearer hunter2")
    )
    assert "hunter2" not in str(shown)


def test_a_parameter_with_a_secret_s_name_is_left_out() -> None:
    """The keys of a map are names, too."""
    request = strategy_pb2.CreateStrategyRequest(
        strategy_id="s", parameters={"api_key": "hunter2", "fast": "3"}
    )
    assert request_fields(request)["parameters"] == {"api_key": REDACTED, "fast": "3"}


def test_a_request_is_cut() -> None:
    """Megabytes of text and thousands of items are a few kilobytes, and say how much was cut."""
    many = ops_pb2.DiscardDeadLettersRequest(
        request_id="x" * 100_000, letter_ids=[f"l{n}" for n in range(500)]
    )
    shown = request_fields(many)
    assert shown["request_id"] == "x" * LONGEST_TEXT + "… (100000 characters)"
    assert shown["letter_ids"][MOST_ITEMS:] == ["… 450 more"]


def test_what_no_database_keeps_is_replaced() -> None:
    """PostgreSQL keeps no NUL in a text."""
    assert plain_text("a\0b") == "a\ufffdb"


def test_what_a_command_was_about() -> None:
    """Ids of orders, signals, strategies and letters are found in request and answer, each once; ids of the call aren't."""
    ids = orders_pb2.OrderState(order_id="o-1", signal_id="s-1", instrument_id="i-1", strategy_id="manual")
    answer = trading_pb2.PlaceOrderResponse(order=trading_pb2.Order(state=ids, correlation_id="c-1"))
    assert subjects([trading_pb2.PlaceOrderRequest(request_id="r"), answer]) == ["o-1", "s-1", "manual"]
    assert subjects([trading_pb2.SquareOffRequest(request_id="r", strategy_id="ema")]) == ["ema"]
    assert subjects([ops_pb2.DiscardDeadLettersRequest(letter_ids=["a", "b", "a"]), None]) == ["a", "b"]


def test_a_request_that_has_no_json_is_recorded_too() -> None:
    """A time beyond the calendar is refused, and what refused it is an entry like any other."""
    request = risk_pb2.ListVerdictsRequest(since=Timestamp(seconds=2**62))
    assert "bytes" in request_fields(request)["…"]
