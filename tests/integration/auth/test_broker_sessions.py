"""Sessions at brokers behind a real server, on a real PostgreSQL; the broker is a fake, and who calls it follows for real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import grpc
import pytest
import structlog
from sqlalchemy import text

from alphapanda.app.kite_following import KiteSessionWatch
from alphapanda.auth.broker_api import BrokerSessionApi
from alphapanda.auth.broker_sessions import BrokerSessionParts, BrokerSessions
from alphapanda.auth.core.broker_session import BrokerAccount
from alphapanda.auth.store.broker_sessions import PostgresBrokerSessionStore
from alphapanda.domain.broker_credentials import BrokerAway, Credentials, LoginRefused
from alphapanda.kite.session import SessionFollower, expiry_of
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.sealing import Sealer
from alphapanda.mesh.server import MeshServer
from alphapanda.mesh.status import CallFailure, call_failure
from alphapanda.mesh.watches import Revisions
from alphapanda.storage.engine import open_engine
from panda.auth.v1 import broker_session_pb2 as api
from panda.auth.v1.broker_session_pb2_grpc import (
    BrokerSessionServiceStub,
    add_BrokerSessionServiceServicer_to_server,
)

SERVICE = "panda.auth.v1.BrokerSessionService"
KEYS = [b"k" * 32]
CANARY = "canary-token-5Qz9"
LONGEST = 10.0


class FakeBroker:
    """A broker whose login page gives out numbered request tokens."""

    callback_url = "http://127.0.0.1:5017/kite/callback"

    def __init__(self, account: str) -> None:
        self.account = account
        self.user = "XY1234"
        self.away = False
        self.given = 0
        self.used: set[str] = set()
        self.ended: list[str] = []

    def login_url(self, state: str) -> str:
        return f"https://broker.example/login?state={state}"

    def valid_until(self, now: datetime) -> datetime:
        return expiry_of(now)

    async def exchange(self, request_token: str) -> Credentials:
        if self.away:
            raise BrokerAway("nobody answers")
        if request_token in self.used:
            raise LoginRefused("Token is invalid or has expired.")
        self.used.add(request_token)
        self.given += 1
        return Credentials(f"key-{self.account}", f"{CANARY}-{self.account}-{self.given}", self.user)

    async def end(self, credentials: Credentials) -> None:
        if self.away:
            raise BrokerAway("nobody answers")
        self.ended.append(credentials.access_token)


@dataclass
class Desk:
    """The service, and how people and services use it."""

    stub: Any
    target: str
    brokers: dict[str, FakeBroker]
    sessions: BrokerSessions
    engine: Any
    now: datetime = field(default_factory=lambda: datetime(2026, 12, 1, 4, 0, tzinfo=UTC))

    async def begun(self, account: str = "default") -> str:
        """The state of a login that was begun."""
        request = api.BeginBrokerLoginRequest(request_id=str(uuid4()), account=account)
        return str((await self.stub.BeginBrokerLogin(request)).state)

    async def completed(self, state: str, request_token: str = "", **more: Any) -> api.BrokerSession:
        """The session of a login that was completed."""
        request = api.CompleteBrokerLoginRequest(
            **{"request_id": str(uuid4()), **more}, state=state, request_token=request_token or str(uuid4())
        )
        return (await self.stub.CompleteBrokerLogin(request)).session

    async def signed_in(self, account: str = "default", **more: Any) -> api.BrokerSession:
        """A new session."""
        return await self.completed(await self.begun(account), **more)

    async def session(self, account: str = "default") -> api.BrokerSession:
        """The session as people see it."""
        return (await self.stub.GetBrokerSession(api.GetBrokerSessionRequest(account=account))).session

    @asynccontextmanager
    async def following(
        self, keys: list[bytes] = KEYS
    ) -> AsyncIterator[tuple[SessionFollower, KiteSessionWatch]]:
        """Somebody who calls the broker for the account `default`."""
        followers: dict[str, SessionFollower] = {}
        channel = open_channel(self.target, [SERVICE])
        watch = KiteSessionWatch(channel, Sealer(keys, "zerodha"), followers, lambda *_: None)
        followers["default"] = SessionFollower("default", lambda: self.now, watch.report)
        await watch.start()
        try:
            yield followers["default"], watch
        finally:
            await watch.stop()


async def refused(call: Any) -> CallFailure:
    """How a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return call_failure(failed.value)


@pytest.fixture
async def desk(tables: str) -> AsyncIterator[Desk]:
    """The service with two accounts."""
    engine = open_engine(tables, 4)
    async with engine.begin() as connection:
        await connection.execute(text("TRUNCATE auth.trading_sessions, auth.broker_accounts, auth.requests"))
    store = PostgresBrokerSessionStore(engine)

    async def read() -> dict[BrokerAccount, int]:
        async with store.reading() as reads:
            return dict(await reads.revisions())

    revisions = Revisions(read, 0.02)
    brokers = {name: FakeBroker(name) for name in ("default", "second")}
    made: list[Desk] = []
    sessions = BrokerSessions(
        BrokerSessionParts(
            store=store,
            logins={BrokerAccount("zerodha", name): broker for name, broker in brokers.items()},
            sealer=Sealer(KEYS, "zerodha"),
            state_keys=KEYS,
            login_lasts=timedelta(minutes=10),
            revisions=revisions,
            audit=structlog.get_logger(),
            wall_clock=lambda: made[0].now,
            keep_secret=lambda *_: None,
        )
    )
    register = partial(add_BrokerSessionServiceServicer_to_server, BrokerSessionApi(sessions, store))
    server = MeshServer("127.0.0.1", 0, [register], structlog.get_logger())
    await revisions.start()
    target = f"127.0.0.1:{await server.start()}"
    channel = open_channel(target, [SERVICE])
    made.append(Desk(BrokerSessionServiceStub(channel), target, brokers, sessions, engine))
    yield made[0]
    await revisions.stop()
    await channel.close()
    await server.stop(0)
    await engine.dispose()


async def until_not(state: api.BrokerSessionState.ValueType, desk: Desk) -> api.BrokerSession:
    """The session once it isn't this any more."""
    watch = desk.stub.WatchBrokerSession(api.WatchBrokerSessionRequest(account="default"))
    async with asyncio.timeout(LONGEST):
        async for message in watch:
            if message.session.state != state:
                found: api.BrokerSession = message.session
                break
    watch.cancel()
    return found


async def test_a_login_reaches_everybody_who_calls(desk: Desk) -> None:
    """Who signs in begins a session until 06:00 IST; its token comes to services encrypted, and to nobody else."""
    assert (await desk.session()).state == api.BROKER_SESSION_STATE_NONE
    async with desk.following() as (follower, watch):
        session = await desk.signed_in()
        live = await asyncio.wait_for(follower.live(), LONGEST)
        assert (live.access_token, live.api_key) == (f"{CANARY}-default-1", "key-default")
        assert watch.notices() == []
    assert session.state == api.BROKER_SESSION_STATE_LIVE
    assert session.broker_user_id == "XY1234"
    assert session.valid_until.ToDatetime(UTC) == datetime(2026, 12, 2, 0, 30, tzinfo=UTC)
    assert CANARY not in str(session)
    async with desk.engine.connect() as connection:
        kept = str((await connection.execute(text("SELECT to_jsonb(s) FROM auth.trading_sessions s"))).all())
        kept += str((await connection.execute(text("SELECT to_jsonb(r) FROM auth.requests r"))).all())
    assert CANARY not in kept
    assert CANARY.encode().hex() not in kept


async def test_a_login_that_was_not_begun_here_is_none(desk: Desk) -> None:
    """A state that is made up, changed or too old completes nothing, and nothing is asked of the broker."""
    state = await desk.begun()
    changed = state[:-1] + ("A" if state[-1] != "A" else "B")
    for wrong in ("made-up", "made.up", changed):
        assert (await refused(desk.completed(wrong))).reason == "LOGIN_NOT_BEGUN"
    desk.now += timedelta(minutes=11)
    late = await refused(desk.completed(state))
    assert (late.reason, "10 minutes ago" in late.message) == ("LOGIN_NOT_BEGUN", True)
    assert desk.brokers["default"].given == 0


async def test_a_login_begins_one_session(desk: Desk) -> None:
    """The same answer again, by the callback and by hand, finds the session that it began; the token is exchanged once."""
    state = await desk.begun()
    first = await desk.completed(state, "r1", request_id="a")
    assert await desk.completed(state, "r1", request_id="a") == first
    assert await desk.completed(state, "r1") == first
    assert desk.brokers["default"].given == 1
    used = await refused(desk.completed(await desk.begun(), "r1"))
    assert used.reason == "BROKER_LOGIN_REFUSED"
    assert "`alphapanda kite login`" in used.message
    assert (await desk.session()) == first


async def test_a_broker_that_is_away_is_told(desk: Desk) -> None:
    """Nothing has changed, and the same login may be completed later."""
    state, desk.brokers["default"].away = await desk.begun(), True
    request = api.CompleteBrokerLoginRequest(request_id="x", state=state, request_token="r")
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await desk.stub.CompleteBrokerLogin(request, timeout=3)
    assert failed.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    desk.brokers["default"].away = False
    assert (await desk.completed(state, "r")).state == api.BROKER_SESSION_STATE_LIVE


async def test_a_refused_token_ends_the_session_and_a_login_heals(desk: Desk) -> None:
    """A 403 anywhere ends the session for all; who calls gets the next session without a restart."""
    async with desk.following() as (follower, watch):
        first = await desk.signed_in()
        used = await asyncio.wait_for(follower.live(), LONGEST)
        await follower.refuse(used, "Incorrect `api_key` or `access_token`.")
        state = await until_not(api.BROKER_SESSION_STATE_LIVE, desk)
        assert state.state == api.BROKER_SESSION_STATE_REFUSED
        assert "by a login elsewhere (Incorrect `api_key`" in state.ended_because
        assert "`alphapanda kite login`" in str(watch.notices())
        second = await desk.signed_in()
        live = await asyncio.wait_for(follower.live(), LONGEST)
        assert (live.session_id, live.access_token) == (second.session_id, f"{CANARY}-default-2")
        await follower.refuse(used, "late")  # of the first session
        assert (
            await desk.stub.ReportBrokerRefusal(api.ReportBrokerRefusalRequest(session_id=first.session_id))
        ).session.state == api.BROKER_SESSION_STATE_LIVE


async def test_a_session_is_over_at_six(desk: Desk) -> None:
    """At 06:00 IST it is expired for all, its token is forgotten, and the list keeps that it was."""
    await desk.signed_in()
    async with desk.following() as (follower, _):
        await asyncio.wait_for(follower.live(), LONGEST)
        desk.now = datetime(2026, 12, 2, 0, 30, tzinfo=UTC)
        assert follower.newest.access_token is None
        assert (await desk.session()).state == api.BROKER_SESSION_STATE_EXPIRED
        await desk.sessions.expire()
    (kept,) = (await desk.stub.ListBrokerSessions(api.ListBrokerSessionsRequest())).sessions
    assert kept.state == api.BROKER_SESSION_STATE_EXPIRED
    assert kept.ended_at == kept.valid_until
    async with desk.engine.connect() as connection:
        assert (await connection.execute(text("SELECT sealed_token FROM auth.trading_sessions"))).all() == [
            (b"",)
        ]


async def test_another_user_s_login_is_refused(desk: Desk) -> None:
    """Who signs in as another user would trade in another's account: it is refused, and ended there, unless it is said."""
    first = await desk.signed_in()
    desk.brokers["default"].user = "ZZ9999"
    other = await refused(desk.signed_in())
    assert other.reason == "OTHER_BROKER_USER"
    assert "XY1234's at zerodha, and ZZ9999 has signed in" in other.message
    assert desk.brokers["default"].ended == [f"{CANARY}-default-2"]
    assert (await desk.session()) == first
    assert (await desk.signed_in(other_user=True)).broker_user_id == "ZZ9999"


async def test_signing_out_ends_it_here_and_there(desk: Desk) -> None:
    """The broker is told; where it is away the session ends here all the same, and the answer says so."""
    for away in (False, True):
        await desk.signed_in()
        desk.brokers["default"].away = away
        ended = await desk.stub.EndBrokerSession(
            api.EndBrokerSessionRequest(request_id=str(uuid4()), account="default")
        )
        assert ended.session.state == api.BROKER_SESSION_STATE_ENDED
        assert ended.ended_at_broker is not away
        desk.brokers["default"].away = False
    assert desk.brokers["default"].ended == [f"{CANARY}-default-1"]


async def test_two_accounts_are_two_sessions(desk: Desk) -> None:
    """Each has its own login, token and end; a request has to name the one it means."""
    first, second = await desk.signed_in(), await desk.signed_in("second")
    assert (await desk.session(), await desk.session("second")) == (first, second)
    unnamed = await refused(desk.stub.GetBrokerSession(api.GetBrokerSessionRequest()))
    assert unnamed.reason == "BROKER_ACCOUNT_NOT_FOUND"
    assert unnamed.message == "an account has to be named; known here: zerodha:default, zerodha:second"
    await desk.signed_in("second")
    listed = await desk.stub.ListBrokerSessions(api.ListBrokerSessionsRequest(account="second", page_size=1))
    assert [one.state for one in listed.sessions] == [api.BROKER_SESSION_STATE_LIVE]
    rest = await desk.stub.ListBrokerSessions(
        api.ListBrokerSessionsRequest(account="second", page_size=1, page_token=listed.next_page_token)
    )
    assert [one.state for one in rest.sessions] == [api.BROKER_SESSION_STATE_REPLACED]
    assert (await desk.session()).state == api.BROKER_SESSION_STATE_LIVE


async def test_a_wrong_key_is_told(desk: Desk) -> None:
    """A service with another session key can't open the token, says so, and calls nobody."""
    await desk.signed_in()
    async with desk.following([b"o" * 32]) as (follower, watch):
        await asyncio.wait_for(follower.after(follower.newest), LONGEST)
        assert follower.newest.access_token is None
        assert "`zerodha.session_key` must be the same for every service" in str(watch.notices())
    async with desk.following([b"o" * 32, *KEYS]) as (follower, _):  # a key that is being replaced
        assert (await asyncio.wait_for(follower.live(), LONGEST)).user_id == "XY1234"
