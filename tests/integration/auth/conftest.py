"""AuthService behind a real server on a real PostgreSQL, and callers with tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import grpc
import pytest
import structlog
from argon2 import PasswordHasher
from structlog.testing import LogCapture

from alphapanda.app.local_audit import FirstAdminRecord
from alphapanda.auth.api import AuthApi
from alphapanda.auth.commands import AuthParts
from alphapanda.auth.core.login_waits import LoginWaits
from alphapanda.auth.hashing import Passwords
from alphapanda.auth.issuing import TokenIssuer, TokenTimes
from alphapanda.auth.signing_in import SigningIn
from alphapanda.auth.starting import Starting
from alphapanda.auth.store.postgres import PostgresAuthStore
from alphapanda.mesh.access import Access
from alphapanda.mesh.revocations import Revocations
from alphapanda.mesh.server import MeshServer
from alphapanda.mesh.server_security import ServerSecurity
from alphapanda.mesh.signing_keys import SigningKey, VerifyingKey, secret_keys
from alphapanda.mesh.status import CallFailure, call_failure
from alphapanda.mesh.tokens import TokenVerifier
from alphapanda.storage.engine import open_engine
from panda.auth.v1 import auth_pb2 as api
from panda.auth.v1.auth_pb2_grpc import AuthServiceStub, add_AuthServiceServicer_to_server

ADMINS_PASSWORD = "an admin's first word"
ASHAS_PASSWORD = "correct horse battery"  # pragma: allowlist secret
SECRETS = secret_keys("s" * 32)
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass
class Clock:
    """Wall time that a test sets."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def seconds(self) -> float:
        return self.now.timestamp()

    def pass_(self, **how_long: float) -> None:
        self.now += timedelta(**how_long)


@dataclass
class Front:
    """The server, and how to call it."""

    stub: Any
    clock: Clock
    revocations: Revocations
    verifier: TokenVerifier
    log: LogCapture
    parts: AuthParts
    server: MeshServer
    target: str
    keys: Sequence[VerifyingKey]

    async def call(self, request: Any, token: str = "") -> Any:
        """The answer of the RPC that this is the request of."""
        method = type(request).__name__.removesuffix("Request")
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = str(uuid4())
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        return await getattr(self.stub, method)(request, metadata=metadata)

    async def refused(self, request: Any, token: str = "") -> CallFailure:
        """How the call fails."""
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await self.call(request, token)
        return call_failure(failed.value)

    async def signed_in(self, user: str = "admin", password: str = ADMINS_PASSWORD) -> api.Tokens:
        """The tokens of a new session."""
        answer = await self.call(api.LoginRequest(user_name=user, password=password, client="a test"))
        return answer.tokens

    async def with_asha(self, *roles: str) -> str:
        """An administrator's token; there is a user asha now."""
        admin = (await self.signed_in()).access_token
        await self.call(
            api.CreateUserRequest(user_name="asha", password=ASHAS_PASSWORD, roles=roles or ("trader",)),
            admin,
        )
        return admin

    def standing(self, token: str) -> str:
        """Why a service refuses the token; empty where it accepts it."""
        try:
            self.verifier.verify(token, self.clock.now.timestamp())
        except Exception as refused:  # noqa: BLE001 - its reason is what the test asks for
            return str(getattr(refused, "reason", refused))
        return ""


@pytest.fixture
async def front(tables: str) -> AsyncIterator[Front]:
    """AuthService with an administrator."""
    async with opened(tables) as front:
        yield front


@asynccontextmanager
async def opened(tables: str, keys: Sequence[SigningKey] = SECRETS) -> AsyncIterator[Front]:
    """AuthService with an administrator, on this database."""
    engine = open_engine(tables, 4)
    clock, revocations = Clock(), Revocations()
    times = TokenTimes(timedelta(minutes=30), timedelta(days=7), timedelta(days=365))
    log = LogCapture()
    logger = structlog.wrap_logger(
        None, processors=[log], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    parts = AuthParts(
        store=PostgresAuthStore(engine),
        passwords=Passwords(2, CHEAP),
        issuer=TokenIssuer(keys, "alphapanda", "desk", times),
        waits=LoginWaits(5, 300),
        revocations=revocations,
        audit=logger,
        wall_clock=lambda: clock.now,
        elapsed=clock.seconds,
    )
    verifier = TokenVerifier([key.verifying for key in keys], "alphapanda", "desk", revocations)

    starting = Starting(parts, ADMINS_PASSWORD, logger, FirstAdminRecord(engine))
    await starting.start()
    servicer = AuthApi(parts, SigningIn(parts, verifier))
    register = partial(add_AuthServiceServicer_to_server, servicer)
    security = ServerSecurity(access=Access(verifier, now=clock.seconds))
    server = MeshServer("127.0.0.1", 0, [register], logger, security=security)
    target = f"127.0.0.1:{await server.start()}"
    verifying = [key.verifying for key in keys]
    async with grpc.aio.insecure_channel(target) as channel:
        stub = AuthServiceStub(channel)
        yield Front(stub, clock, revocations, verifier, log, parts, server, target, verifying)
    await server.stop(1.0)
    await starting.stop()
    await engine.dispose()
