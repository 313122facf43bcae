"""Builds the room of AuthService."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import structlog

from alphapanda.app.clocks import wall_clock
from alphapanda.app.local_audit import FirstAdminRecord
from alphapanda.app.process import Phase, Room
from alphapanda.app.resources import ProcessResources
from alphapanda.app.tokens import signing_keys
from alphapanda.auth.api import AuthApi
from alphapanda.auth.commands import AuthParts
from alphapanda.auth.core.login_waits import LoginWaits
from alphapanda.auth.hashing import Passwords
from alphapanda.auth.issuing import TokenIssuer, TokenTimes
from alphapanda.auth.signing_in import SigningIn
from alphapanda.auth.starting import Starting
from alphapanda.auth.store.postgres import PostgresAuthStore
from alphapanda.auth.store.statements import REVOCATIONS_PURGE, SCHEMA, sessions_purge
from alphapanda.mesh.signing_keys import SigningKey, private_keys
from alphapanda.mesh.tokens import TokenVerifier
from alphapanda.settings.auth import AuthSettings
from alphapanda.storage.purging import Purging, requests_purge
from alphapanda.telemetry.channels import AUDIT
from panda.auth.v1.auth_pb2_grpc import add_AuthServiceServicer_to_server


def auth_room(resources: ProcessResources) -> Room:
    """Builds the room. What is revoked here counts at once for calls to this process.

    Raises:
        InvalidInput: `auth` has no key to sign with.
    """
    auth, revocations = resources.settings.auth, resources.security.revocations
    keys = require_keys(auth)
    times = TokenTimes(
        access=timedelta(minutes=auth.access_minutes),
        refresh=timedelta(days=auth.refresh_days),
        service=timedelta(days=auth.service_token_days),
    )
    parts = AuthParts(
        store=PostgresAuthStore(resources.engine),
        passwords=Passwords(auth.hashes_at_once),
        issuer=TokenIssuer(keys, auth.issuer, auth.audience, times),
        waits=LoginWaits(auth.free_failures, auth.longest_wait_seconds),
        revocations=revocations,
        audit=structlog.get_logger(AUDIT),
        wall_clock=wall_clock,
        elapsed=time.monotonic,
    )
    verifier = TokenVerifier([key.verifying for key in keys], auth.issuer, auth.audience, revocations)
    servicer = AuthApi(parts, SigningIn(parts, verifier))
    log, record = structlog.get_logger("alphapanda.auth"), FirstAdminRecord(resources.engine)
    starting = Starting(parts, auth.first_admin_password, log, record)
    retention = resources.settings.retention
    keep = timedelta(hours=retention.requests_hours)
    purges = Purging(
        SCHEMA,
        resources.engine,
        [requests_purge(SCHEMA, keep), sessions_purge(keep), REVOCATIONS_PURGE],
        retention.interval_seconds,
        wall_clock,
    )
    return Room(
        service="auth",
        full_name="panda.auth.v1.AuthService",
        registration=lambda server: add_AuthServiceServicer_to_server(servicer, server),
        parts=[(Phase.LISTEN, starting), (Phase.WAKE, purges.rounds)],
        checks=[purges.rounds],
        counters=lambda: {"revocations": revocations.entries},
    )


def require_keys(auth: AuthSettings) -> Sequence[SigningKey]:
    """The keys of AuthService; the first signs.

    Raises:
        InvalidInput: there is none, or it can't be used.
    """
    return signing_keys(auth) or private_keys("")
