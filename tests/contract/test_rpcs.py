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


def is_text(method: MethodDescriptor, field: str) -> bool:
    found = method.input_type.fields_by_name.get(field)
    return found is not None and found.type == FieldDescriptor.TYPE_STRING


def test_the_contract_is_found() -> None:
    """The rooms of the design have their services; an empty search would pass every test here."""
    rooms = {method.full_name.split(".")[1] for method in METHODS}
    assert rooms >= {"instruments", "marketdata", "strategy", "risk", "trading", "portfolio", "ops"}


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
    """Kill switches, cancellations and square-off have the urgent lane, and nothing else has it."""
    stops = "KillSwitch" in method.name or method.name.startswith(("Cancel", "SquareOff"))
    assert method_policy(method).is_urgent is stops


ABOUT_PEOPLE = {"ListAuditEntries"}
"""Questions that need more than PERMISSION_READ."""


@every_rpc
def test_a_question_is_safe_and_a_command_is_remembered(method) -> None:
    """What Gets, Lists, Searches, Watches or Evaluates needs PERMISSION_READ and may be sent again; all else is a command with more.

    Who did what from where isn't for everybody who may read prices.
    """
    question = method.name.startswith(("Get", "List", "Search", "Watch", "Tail", "Evaluate"))
    policy = policy_of(method)
    assert (policy.retry == options.RETRY_SAFE) is question
    assert (policy.permission == options.PERMISSION_READ) is (question and method.name not in ABOUT_PEOPLE)


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
