"""What `alphapanda up --demo-zerodha` does while it runs: signs in to its exchange, shows session and feed, starts it again."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Callable
from typing import Final, Self
from urllib.parse import urlsplit
from uuid import uuid4

import grpc
import structlog

from alphapanda.commands.demo_exchange import BROKER, DemoExchange
from alphapanda.commands.wording import market_moment, shown_time, things
from alphapanda.kite.callback import Redirect, read_redirect
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.security import PLAINTEXT, ChannelSecurity
from alphapanda.resilience.tasks import kept_running
from panda.auth.v1.broker_session_pb2 import (
    BROKER_SESSION_STATE_LIVE,
    BeginBrokerLoginRequest,
    BrokerSession,
    CompleteBrokerLoginRequest,
    GetBrokerSessionRequest,
)
from panda.auth.v1.broker_session_pb2_grpc import BrokerSessionServiceStub
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusRequest, GetMarketStatusResponse
from panda.marketdata.v1.marketdata_pb2_grpc import MarketDataServiceStub
from panda.risk.v1.risk_pb2 import ArmLiveAccountRequest
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub

SERVICES: Final = (
    "panda.auth.v1.BrokerSessionService",
    "panda.marketdata.v1.MarketDataService",
    "panda.risk.v1.RiskService",
)
SHOWN_SECONDS: Final = 2.0
ARMING_SECONDS: Final = 0.5
PAGE_SECONDS: Final = 10.0
SIGN_IN_SECONDS: Final = 30.0
_log = structlog.get_logger(__name__)


class ZerodhaDemo:
    """Keeps the demo's exchange running, somebody signed in to it and its account armed, and shows how session and feed are.

    A session that ends otherwise isn't renewed: a person is asked, as with the real one.
    An async context manager; the exchange is its owner's to stop.

    Args:
        exchange: has been started.
        target: host:port where the platform answers.
        say: shows a line; called every few seconds.
        security: how to connect to the platform.
    """

    def __init__(
        self,
        exchange: DemoExchange,
        target: str,
        say: Callable[[str], None],
        security: ChannelSecurity = PLAINTEXT,
    ) -> None:
        self._exchange = exchange
        self._target = target
        self._say = say
        self._security = security
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = kept_running(self._run, "demo.zerodha", _log)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        async with open_channel(self._target, SERVICES, security=self._security) as channel:
            sessions, market = BrokerSessionServiceStub(channel), MarketDataServiceStub(channel)
            risk = RiskServiceStub(channel)
            while True:
                if self._exchange.ended:
                    await asyncio.to_thread(self._exchange.start)
                where = self._exchange.addresses.api_root
                session = await _signed_in(sessions)
                _log.info("demo.zerodha_signed_in", account=session.account, url=where)
                armed = False
                while not self._exchange.ended:
                    session = (
                        await sessions.GetBrokerSession(GetBrokerSessionRequest(broker=BROKER))
                    ).session
                    status = await market.GetMarketStatus(GetMarketStatusRequest())
                    armed = armed or await _armed(risk)
                    self._say(f"Zerodha's stub {where}: {health(session, status)}")
                    await asyncio.sleep(SHOWN_SECONDS if armed else ARMING_SECONDS)
                _log.warning("demo.zerodha_ended", url=where)
                self._say(f"Zerodha's stub {where} has ended; it is started again")


async def _armed(risk: RiskServiceStub) -> bool:
    """Arms the account for the market's day; False where the market's day isn't known yet."""
    request = ArmLiveAccountRequest(
        request_id=str(uuid4()), broker=BROKER, reason="the demo's exchange is a stub"
    )
    try:
        await risk.ArmLiveAccount(request)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
            raise
        return False
    return True


async def _signed_in(sessions: BrokerSessionServiceStub) -> BrokerSession:
    begun = await sessions.BeginBrokerLogin(BeginBrokerLoginRequest(request_id=str(uuid4())))
    redirect = await asyncio.to_thread(press_login, begun.login_url)
    request = CompleteBrokerLoginRequest(
        request_id=str(uuid4()), state=redirect.state, request_token=redirect.request_token
    )
    return (await sessions.CompleteBrokerLogin(request, timeout=SIGN_IN_SECONDS)).session


def health(session: BrokerSession, status: GetMarketStatusResponse) -> str:
    """How session and feed are, in a line; what a person must do, where somebody must."""
    if session.state != BROKER_SESSION_STATE_LIVE:
        return f"{session.ended_because or 'nobody is signed in'}; run `alphapanda kite login`"
    until = shown_time(market_moment(session, "valid_until"), "%a %H:%M")
    told = f"{session.broker_user_id} until {until}"
    if status.live.problem:
        return f"{told} · {status.live.problem}"
    streamed = things(status.live.instruments, "instrument", "instruments")
    return f"{told} · {streamed}, {things(status.ticks, 'tick', 'ticks')}"


def press_login(url: str) -> Redirect:
    """Opens the stub's login page, which redirects at once.

    Raises:
        OSError: it can't be reached.
        InvalidInput: it hasn't redirected to where a login ends.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PAGE_SECONDS)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        return read_redirect(connection.getresponse().headers.get("Location", ""))
    finally:
        connection.close()
