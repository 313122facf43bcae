"""A process of another service learns within a poll what was revoked, and the public keys."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.integration.auth.conftest import ASHAS_PASSWORD, Front, opened

from alphapanda.app.token_watch import NOTICED_SECONDS, TokenWatch
from alphapanda.mesh.revocations import Revocations
from alphapanda.mesh.signing_keys import Algorithm, private_keys
from alphapanda.mesh.tokens import TokenVerifier
from panda.auth.v1 import auth_pb2 as api


@pytest.fixture
async def elsewhere(front: Front):
    """Another process: its verifier, and its watch, which shows a service account's token."""
    admin = await front.with_asha()
    account = api.CreateServiceAccountRequest(user_name="risk", roles=["service"])
    token = (await front.call(account, admin)).tokens.access_token
    revocations = Revocations()
    verifier = TokenVerifier(front.keys, "alphapanda", "desk", revocations)

    class Shows(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation, client_call_details, request):
            shown = grpc.aio.Metadata(("authorization", f"Bearer {token}"))
            return await continuation(replace_metadata(client_call_details, shown), request)

    channel = grpc.aio.insecure_channel(front.target, interceptors=[Shows()])
    watch = TokenWatch(channel, verifier, revocations, Algorithm.HS256, 60.0, lambda: front.clock.now)
    yield watch, verifier
    await watch.stop()


def replace_metadata(call, metadata):
    return grpc.aio.ClientCallDetails(
        call.method, call.timeout, metadata, call.credentials, call.wait_for_ready
    )


async def test_what_was_revoked_is_known_with_the_next_poll(front: Front, elsewhere) -> None:
    """Also what was revoked before the process started; each is asked for once."""
    watch, verifier = elsewhere
    one, two = [(await front.signed_in("asha", ASHAS_PASSWORD)).access_token for _ in range(2)]
    await front.call(api.LogoutRequest(), one)
    await watch.start()

    def standing(token: str) -> str:
        return replace(front, verifier=verifier).standing(token)

    assert [standing(one), standing(two)] == ["TOKEN_REVOKED", ""]
    await front.call(api.LogoutRequest(), two)
    assert standing(two) == ""
    await watch.ask()
    assert standing(two) == "TOKEN_REVOKED"


async def test_public_keys_are_fetched_and_rotate(tables: str) -> None:
    """With EdDSA another process has no key of its own: it asks for them, and a key that was taken away counts no longer."""
    old, new = (
        Ed25519PrivateKey.generate()
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        .decode()
        for _ in range(2)
    )
    verifier = TokenVerifier((), "alphapanda", "desk", Revocations())
    tokens = []
    for pem in (old, new + old, new):
        async with opened(tables, private_keys(pem)) as front:
            tokens.append((await front.signed_in()).access_token)
            channel = grpc.aio.insecure_channel(front.target)
            watch = TokenWatch(
                channel, verifier, Revocations(), Algorithm.EDDSA, 60.0, lambda: front.clock.now
            )
            await watch.ask()  # of the two questions the first is for everybody
            standing = [replace(front, verifier=verifier).standing(token) for token in tokens]
            await watch.stop()
    assert standing == ["TOKEN_INVALID", "", ""]


async def test_silence_of_auth_is_told(front: Front, elsewhere) -> None:
    """Tokens go on counting by what is known, and the status says that revocations may not be."""
    watch, verifier = elsewhere
    token = (await front.signed_in("asha", ASHAS_PASSWORD)).access_token
    await watch.start()
    await front.server.stop(0)
    await watch.ask()
    front.clock.pass_(seconds=NOTICED_SECONDS)
    [notice] = watch.notices()
    assert "auth hasn't answered" in notice
    assert verifier.verify(token, front.clock.seconds()).subject == "asha"
