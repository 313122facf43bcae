"""Every RPC of the contract says what it is; read from the descriptors, as the server does (rule 10)."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from alphapanda.contract.catalogue import service_descriptors
from alphapanda.contract.method_policy import LONGEST_DEADLINE_MS, method_policy
from panda.options.v1 import options_pb2 as options

METHODS = [method for service in service_descriptors() for method in service.methods]
every_rpc = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)


def policy_of(method: MethodDescriptor) -> options.MethodPolicy:
    return method.GetOptions().Extensions[options.method]


def of_auth(method: MethodDescriptor) -> bool:
    return method.containing_service.full_name == "panda.auth.v1.AuthService"


def is_text(method: MethodDescriptor, field: str) -> bool:
    found = method.input_type.fields_by_name.get(field)
    return found is not None and found.type == FieldDescriptor.TYPE_STRING


def test_the_contract_is_found() -> None:
    """The rooms of the design have their services; an empty search would pass every test here."""
    rooms = {method.full_name.split(".")[1] for method in METHODS}
    assert rooms >= {"instruments", "marketdata", "strategy", "risk", "trading", "portfolio", "auth", "ops"}


@every_rpc
def test_it_has_its_options(method) -> None:
    """Permission and retry are set, and the default deadline is 1 ms to a minute."""
    policy = policy_of(method)
    assert policy.permission != options.PERMISSION_UNSPECIFIED
    assert policy.retry != options.RETRY_UNSPECIFIED
    assert 1 <= policy.default_deadline_ms <= LONGEST_DEADLINE_MS
    assert method_policy(method).is_command is (policy.retry != options.RETRY_SAFE)


@every_rpc
def test_what_stops_trading_is_urgent(method) -> None:
    """Kill switches, cancellations, disarming and square-off have the urgent lane, and nothing else has it."""
    stops = "KillSwitch" in method.name or method.name.startswith(("Cancel", "Disarm", "SquareOff"))
    assert method_policy(method).is_urgent is stops


ABOUT_PEOPLE = {"ListAuditEntries"}
"""Questions that need more than PERMISSION_READ."""
WITH_TOKENS = {"WatchBrokerCredentials"}
"""Questions for services alone: their answers hold tokens of brokers."""


@every_rpc
def test_a_question_is_safe_and_a_command_is_remembered(method) -> None:
    """What Gets, Lists, Searches, Watches or Evaluates (and the report of slippage) needs PERMISSION_READ and may be sent again; all else is a command with more.

    Who did what from where, and who may call, isn't for everybody who may read prices.
    """
    question = method.name.startswith(
        ("Get", "List", "Search", "Watch", "Tail", "Evaluate", "ReportSlippage", "WhoAmI")
    )
    policy = policy_of(method)
    assert (policy.retry == options.RETRY_SAFE) is question
    about_people = method.name in ABOUT_PEOPLE or of_auth(method)
    with_tokens = method.name in WITH_TOKENS
    assert (policy.permission == options.PERMISSION_READ) is (question and not (about_people or with_tokens))
    assert (policy.permission == options.PERMISSION_INTERNAL) is with_tokens or not question or about_people


@every_rpc
def test_what_needs_no_permission_is_named(method) -> None:
    """Only signing in and the public keys are for everybody; only what concerns the caller alone needs no role."""
    public = {"Login", "Refresh", "GetSigningKeys"}
    own = {"Logout", "WhoAmI", "ChangePassword"}
    policy = policy_of(method)
    is_public, is_own = of_auth(method) and method.name in public, of_auth(method) and method.name in own
    assert (policy.permission == options.PERMISSION_PUBLIC) is is_public
    assert (policy.permission == options.PERMISSION_AUTHENTICATED) is is_own


@every_rpc
def test_a_password_or_token_is_marked_as_a_secret(method) -> None:
    """Errors, audit and logs know by the option debug_redact which fields they may never show."""
    waiting, seen = [method.input_type, method.output_type], set()
    while waiting:
        message = waiting.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        for field in message.fields:
            secret = field.name.endswith(("password", "_token")) and field.name not in {
                "page_token",
                "next_page_token",
                "instrument_token",
            }
            assert field.GetOptions().debug_redact is secret, field.full_name
            if field.message_type is not None:
                waiting.append(field.message_type)


@every_rpc
def test_a_list_is_paged(method) -> None:
    """A List, and what else is paged, takes page_size and page_token and answers with next_page_token."""
    if not method.name.startswith("List") and "page_token" not in method.input_type.fields_by_name:
        assert "next_page_token" not in method.output_type.fields_by_name
        return
    assert "page_size" in method.input_type.fields_by_name
    assert is_text(method, "page_token")
    assert "next_page_token" in method.output_type.fields_by_name


@every_rpc
def test_a_watch_is_a_stream(method) -> None:
    """What Watches streams its answers, and nothing else streams; each message says how to go on, or none can."""
    assert method.server_streaming is method.name.startswith(("Watch", "Tail"))
    assert not method.client_streaming
    if "after_revision" in method.input_type.fields_by_name:
        assert {"revision", "draining"} <= set(method.output_type.fields_by_name)


@every_rpc
def test_a_command_has_a_request_id(method) -> None:
    """A person's command carries a required request_id; a call between services its own identity instead."""
    from buf.validate import validate_pb2

    policy = policy_of(method)
    if policy.retry == options.RETRY_SAFE or policy.permission == options.PERMISSION_INTERNAL:
        assert "request_id" not in method.input_type.fields_by_name
        return
    assert is_text(method, "request_id")
    rules = method.input_type.fields_by_name["request_id"].GetOptions().Extensions[validate_pb2.field]
    assert rules.string.min_len == 1
    assert rules.string.max_len == 64


@every_rpc
def test_its_messages_are_its_own(method) -> None:
    """Request and response are named after the RPC, so that either can grow alone."""
    assert method.input_type.name == f"{method.name}Request"
    assert method.output_type.name == f"{method.name}Response"


def test_a_missing_option_is_refused() -> None:
    """A service whose RPC lacks options can't be served: the defect is found at the start, not at the call."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    from alphapanda.domain.errors import InvalidInput

    file = descriptor_pb2.FileDescriptorProto(name="planted.proto", package="planted")
    file.message_type.add(name="M")
    file.service.add(name="S").method.add(name="Do", input_type=".planted.M", output_type=".planted.M")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    with pytest.raises(InvalidInput, match=r"/planted\.S/Do\.permission"):
        method_policy(pool.FindMethodByName("planted.S.Do"))
