"""Every RPC of the contract x every shipped role x every state of a token: who is let in, and what the others are told.

The table is made of the contract's options: a new RPC, permission or role is in it without a line here. One server has all
services, with handlers that do nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

import grpc
import jwt
import pytest
import structlog
from google.protobuf import message_factory

from alphapanda.auth.core.roles import SHIPPED_ROLES
from alphapanda.contract.catalogue import service_descriptors
from alphapanda.contract.method_policy import MethodPolicy, method_policy
from alphapanda.mesh.access import Access
from alphapanda.mesh.bounds import CallBounds
from alphapanda.mesh.revocations import Revocation, Revocations
from alphapanda.mesh.server import MeshServer
from alphapanda.mesh.server_security import ServerSecurity
from alphapanda.mesh.signing_keys import secret_keys
from alphapanda.mesh.status import call_failure
from alphapanda.mesh.tokens import CallerKind, Claims, TokenType, TokenVerifier, signed
from panda.options.v1 import options_pb2 as options

KEY, OTHER_KEY = secret_keys("k" * 40)[0], secret_keys("o" * 40)[0]
METHODS = [method for service in service_descriptors() for method in service.methods]
ROOMY = CallBounds(*(100_000,) * 9, max_requests_per_second=0)
SERVED = "served"
"""The call came to its handler, or to the contract's rules."""


def claims_of(role: str, **changed) -> Claims:
    """The claims of a valid access token of a user who has this role."""
    now = int(time.time())
    permissions = frozenset(
        options.Permission.Value(f"PERMISSION_{permission}") for permission in SHIPPED_ROLES[role][1]
    )
    found = {
        "subject": f"user-{role}",
        "kind": CallerKind.SERVICE if role == "service" else CallerKind.PERSON,
        "roles": (role,),
        "permissions": permissions,
        "session_id": f"session-{role}",
        "generation": 0,
        "token_id": f"token-{role}",
        "type": TokenType.ACCESS,
        "issuer": "alphapanda",
        "audience": "alphapanda",
        "issued_at": now - 100,
        "expires_at": now + 600,
    }
    return Claims(**(found | changed))


def with_algorithm_none(role: str) -> str:
    """A valid token of the role, signed by nobody."""
    payload = jwt.decode(signed(claims_of(role), KEY), options={"verify_signature": False})
    return jwt.encode(payload, None, "none", {"kid": KEY.kid})


def with_more_permissions(role: str) -> str:
    """A valid token of the role, whose claims were changed afterwards."""
    head, _, signature = signed(claims_of(role), KEY).split(".")
    _, body, _ = signed(claims_of("admin", subject="somebody else"), KEY).split(".")
    return f"{head}.{body}.{signature}"


STATES: dict[str, tuple[Callable[[str], str], str]] = {
    "none": (lambda _: "", "TOKEN_MISSING"),
    "expired": (lambda role: signed(claims_of(role, expires_at=int(time.time()) - 60), KEY), "TOKEN_EXPIRED"),
    "refresh": (lambda role: signed(claims_of(role, type=TokenType.REFRESH), KEY), "TOKEN_WRONG_TYPE"),
    "other key": (lambda role: signed(claims_of(role), OTHER_KEY), "TOKEN_INVALID"),
    "alg none": (with_algorithm_none, "TOKEN_INVALID"),
    "changed claims": (with_more_permissions, "TOKEN_INVALID"),
    "wrong audience": (lambda role: signed(claims_of(role, audience="elsewhere"), KEY), "TOKEN_INVALID"),
    "wrong issuer": (lambda role: signed(claims_of(role, issuer="elsewhere"), KEY), "TOKEN_INVALID"),
    "revoked": (lambda role: signed(claims_of(role, session_id="ended"), KEY), "TOKEN_REVOKED"),
    "of a time to come": (
        lambda role: signed(claims_of(role, issued_at=int(time.time()) + 100), KEY),
        "TOKEN_INVALID",
    ),
    "not a token": (lambda _: "eyJhbGciOiJub25lIn0", "TOKEN_INVALID"),
}
"""How a token can be wrong: by name, a token of a role, and the reason it is refused with."""


def registration(service):
    """Adds a service whose handlers do nothing."""

    async def answer(output, request, context):
        return output()

    async def watch(output, request, context):
        yield output()

    def handler(method):
        output = message_factory.GetMessageClass(method.output_type)
        decode = message_factory.GetMessageClass(method.input_type).FromString
        made = (
            grpc.unary_stream_rpc_method_handler
            if method.server_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        behaviour = watch if method.server_streaming else answer
        return made(partial(behaviour, output), decode, output.SerializeToString)

    handlers = {method.name: handler(method) for method in service.methods}
    return lambda server: server.add_registered_method_handlers(service.full_name, handlers)


@pytest.fixture
async def called(monkeypatch) -> AsyncIterator[Callable]:
    """Calls an RPC with a token; returns SERVED or the reason of the refusal."""
    monkeypatch.setattr("alphapanda.mesh.refusals.AT_ONCE", 100_000)
    revocations = Revocations()
    revocations.apply([Revocation(session_id="ended", forget_at=time.time() + 600)], time.time())
    verifier = TokenVerifier([KEY.verifying], "alphapanda", "alphapanda", revocations)
    quiet = structlog.wrap_logger(
        None, processors=[], wrapper_class=structlog.make_filtering_bound_logger(50)
    )
    server = MeshServer(
        "127.0.0.1",
        0,
        [registration(service) for service in service_descriptors()],
        quiet,
        bounds=ROOMY,
        security=ServerSecurity(access=Access(verifier, now=time.time)),
    )
    port = await server.start()
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=(("grpc.enable_retries", 0),)
    ) as channel:
        stubs = {
            method.full_name: (channel.unary_stream if method.server_streaming else channel.unary_unary)(
                f"/{method.containing_service.full_name}/{method.name}"
            )
            for method in METHODS
        }

        async def call(method, token: str) -> str:
            metadata = (("authorization", f"Bearer {token}"),) if token else ()
            try:
                if method.server_streaming:
                    async for _ in stubs[method.full_name](b"", metadata=metadata):
                        return SERVED
                else:
                    await stubs[method.full_name](b"", metadata=metadata)
            except grpc.aio.AioRpcError as error:
                failure = call_failure(error)
                if failure.code is grpc.StatusCode.INVALID_ARGUMENT:
                    return SERVED
                expected = {
                    "PERMISSION_MISSING": grpc.StatusCode.PERMISSION_DENIED,
                    **{reason: grpc.StatusCode.UNAUTHENTICATED for _, reason in STATES.values()},
                }
                assert failure.code is expected.get(failure.reason), (method.full_name, failure)
                return failure.reason
            return SERVED

        yield call
    await server.stop(0)


def expected(policy: MethodPolicy, role: str) -> str:
    """What the contract says of a valid token of a role."""
    permission = options.Permission.Name(policy.permission).removeprefix("PERMISSION_")
    served = permission in {"PUBLIC", "AUTHENTICATED", *SHIPPED_ROLES[role][1]}
    return SERVED if served else "PERMISSION_MISSING"


async def outcomes(called, tokens: dict[str, str]) -> dict[tuple[str, str], str]:
    """What becomes of a call of each RPC with each token, by RPC and the token's name."""
    cases = [(method, name) for method in METHODS for name in tokens]
    found = await asyncio.gather(*(called(method, tokens[name]) for method, name in cases))
    return {(method.full_name, name): one for (method, name), one in zip(cases, found, strict=True)}


async def test_each_role_may_call_what_the_contract_says_and_nothing_else(called) -> None:
    """With a valid token an RPC is served where the role has its permission; else the refusal says that one is missing."""
    found = await outcomes(called, {role: signed(claims_of(role), KEY) for role in SHIPPED_ROLES})
    assert found == {
        (method.full_name, role): expected(method_policy(method), role)
        for method in METHODS
        for role in SHIPPED_ROLES
    }
    assert {one for (_, role), one in found.items() if role != "admin"} == {SERVED, "PERMISSION_MISSING"}


@pytest.mark.parametrize("state", STATES)
async def test_a_token_that_is_not_valid_opens_nothing(called, state: str) -> None:
    """Whatever the role, the call is refused with the reason of the token's state; what is public is served."""
    make, reason = STATES[state]
    found = await outcomes(called, {role: make(role) for role in SHIPPED_ROLES})
    assert found == {
        (method.full_name, role): SERVED
        if method_policy(method).permission == options.PERMISSION_PUBLIC
        else reason
        for method in METHODS
        for role in SHIPPED_ROLES
    }
