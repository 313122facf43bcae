"""Builds the room of BrokerSessionService; imported only where Zerodha is used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import structlog

from alphapanda.app.clocks import IST, wall_clock
from alphapanda.app.kite import kite_apps, kite_options, kite_session_keys
from alphapanda.app.kite_accounts import BROKER_SESSION, BROKER_SESSION_SERVICE
from alphapanda.app.preflight import StartCheck
from alphapanda.app.process import Phase, Room
from alphapanda.app.resources import ProcessResources
from alphapanda.auth.broker_api import BrokerSessionApi
from alphapanda.auth.broker_sessions import BrokerSessionParts, BrokerSessions
from alphapanda.auth.core.broker_session import BrokerAccount
from alphapanda.auth.store.broker_sessions import PostgresBrokerSessionStore
from alphapanda.auth.store.broker_statements import trading_sessions_purge
from alphapanda.kite.client import KiteThreads
from alphapanda.kite.login import LOGIN_SECONDS, KiteLogin
from alphapanda.kite.options import BROKER
from alphapanda.mesh.sealing import Sealer
from alphapanda.mesh.watches import Revisions
from alphapanda.resilience.rounds import Rounds
from alphapanda.storage.purging import Purging
from alphapanda.telemetry.channels import AUDIT
from alphapanda.telemetry.redaction import remember_session_secret
from panda.auth.v1.broker_session_pb2_grpc import add_BrokerSessionServiceServicer_to_server

EXPIRY_SECONDS: Final = 2.0
"""Between two looks for sessions that are over; who uses them knows their end by itself."""
LOGINS_AT_ONCE: Final = 2


def broker_session_room(resources: ProcessResources) -> Room:
    """Builds the room.

    Raises:
        InvalidInput: the key of access tokens is missing.
    """
    settings = resources.settings
    options, keys = kite_options(settings), kite_session_keys(settings)
    threads = KiteThreads(options, LOGINS_AT_ONCE, LOGIN_SECONDS, "logins")
    store = PostgresBrokerSessionStore(resources.engine)
    log = structlog.get_logger("alphapanda.auth")

    async def read_revisions() -> dict[BrokerAccount, int]:
        async with store.reading() as reads:
            return dict(await reads.revisions())

    revisions = Revisions(read_revisions)
    sessions = BrokerSessions(
        BrokerSessionParts(
            store=store,
            logins={
                BrokerAccount(BROKER, account): KiteLogin(
                    options, app, settings.zerodha.callback_url, threads
                )
                for account, app in kite_apps(settings).items()
            },
            sealer=Sealer(keys, BROKER),
            state_keys=keys,
            login_lasts=timedelta(seconds=settings.zerodha.login_seconds),
            revisions=revisions,
            audit=structlog.get_logger(AUDIT),
            wall_clock=wall_clock,
            keep_secret=remember_session_secret,
        )
    )
    servicer = BrokerSessionApi(sessions, store)

    def check_of(owner: BrokerAccount) -> Callable[[], Awaitable[StartCheck]]:
        async def check() -> StartCheck:
            session = await sessions.newest(owner)
            lives = session.valid_until is not None and session.lives(wall_clock())
            detail = f"{session.ended_because}; run `alphapanda kite login`"
            if lives and session.valid_until is not None:
                until = session.valid_until.astimezone(IST)
                detail = f"{session.broker_user_id} is signed in until {until:%a %d %b %H:%M} IST"
            return StartCheck(f"session of {owner.account} at Zerodha", detail, passed=lives, blocks=False)

        return check

    retention = settings.retention
    purges = Purging(
        BROKER_SESSION,
        resources.engine,
        [trading_sessions_purge(timedelta(hours=retention.audit_hours))],
        retention.interval_seconds,
        wall_clock,
    )
    expiry = Rounds("sessions at brokers", sessions.expire, EXPIRY_SECONDS, log, at_once=True)
    return Room(
        service=BROKER_SESSION,
        full_name=BROKER_SESSION_SERVICE,
        registration=lambda server: add_BrokerSessionServiceServicer_to_server(servicer, server),
        parts=[
            (Phase.LISTEN, revisions),
            (Phase.LISTEN, _Threads(threads)),
            (Phase.WAKE, expiry),
            (Phase.WAKE, purges.rounds),
        ],
        checks=[expiry, purges.rounds],
        start_checks=[check_of(owner) for owner in sessions.accounts],
    )


class _Threads:
    """Threads as a part of a room."""

    def __init__(self, threads: KiteThreads) -> None:
        self._threads = threads

    async def start(self) -> None:
        """Starts nothing: threads start with their first call."""

    async def stop(self) -> None:
        """Ends the threads."""
        self._threads.stop()
