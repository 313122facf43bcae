"""What `alphapanda up --demo-zerodha` does while it runs: signs in to its exchange, tells what arrives, starts it again."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Callable
from typing import Final, Self
from urllib.parse import urlsplit
from uuid import uuid4

import structlog

from alphapanda.commands.demo_exchange import DemoExchange
from alphapanda.commands.wording import market_moment, shown_time, things
from alphapanda.kite.callback import Redirect, read_redirect
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.security import PLAINTEXT, ChannelSecurity
from alphapanda.resilience.tasks import kept_running
from panda.auth.v1.broker_session_pb2 import (
    BeginBrokerLoginRequest,
    BrokerSession,
    CompleteBrokerLoginRequest,
)
from panda.auth.v1.broker_session_pb2_grpc import BrokerSessionServiceStub
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusRequest
from panda.marketdata.v1.marketdata_pb2_grpc import MarketDataServiceStub

SERVICES: Final = ("panda.auth.v1.BrokerSessionService", "panda.marketdata.v1.MarketDataService")
LOOKED_SECONDS: Final = 0.5
ARRIVED_SECONDS: Final = 60.0
PAGE_SECONDS: Final = 10.0
SIGN_IN_SECONDS: Final = 30.0
_UNTIL: Final = "%a %d %b %H:%M IST"
_log = structlog.get_logger(__name__)


class ZerodhaDemo:
    """Keeps the demo's exchange running, and somebody signed in to it.

    A session that ends otherwise isn't renewed: a person is asked, as with the real one.

    An async context manager; the exchange is its owner's to stop.

    Args:
        exchange: has been started.
        target: host:port where the platform answers.
        security: how to connect to it.
        say: shows a line.
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
        self._security = security
        self._say = say
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = kept_running(self._run, "demo.zerodha", _log)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            if self._exchange.ended:
                await asyncio.to_thread(self._exchange.start)
            session = await self._sign_in()
            until = shown_time(market_moment(session, "valid_until"), _UNTIL)
            where = self._exchange.addresses.api_root
            _log.info("demo.zerodha_signed_in", account=session.account, url=where, until=until)
            self._say(f"Zerodha, a stub at {where}: {session.broker_user_id} is signed in until {until}")
            self._say(await self._arrived())
            while not self._exchange.ended:  # noqa: ASYNC110 - its process sets no event of ours
                await asyncio.sleep(LOOKED_SECONDS)
            _log.warning("demo.zerodha_ended", url=where)
            self._say(f"the stub of Zerodha at {where} has ended; it is started again")

    async def _sign_in(self) -> BrokerSession:
        async with open_channel(self._target, SERVICES, security=self._security) as channel:
            sessions = BrokerSessionServiceStub(channel)
            begun = await sessions.BeginBrokerLogin(BeginBrokerLoginRequest(request_id=str(uuid4())))
            redirect = await asyncio.to_thread(press_login, begun.login_url)
            completed = await sessions.CompleteBrokerLogin(
                CompleteBrokerLoginRequest(
                    request_id=str(uuid4()), state=redirect.state, request_token=redirect.request_token
                ),
                timeout=SIGN_IN_SECONDS,
            )
        return completed.session

    async def _arrived(self) -> str:
        """Waits for ticks; says what has arrived."""
        began = time.monotonic()
        async with open_channel(self._target, SERVICES, security=self._security) as channel:
            market = MarketDataServiceStub(channel)
            while True:
                status = await market.GetMarketStatus(GetMarketStatusRequest())
                waited = time.monotonic() - began
                if status.ticks:
                    ticks = things(status.ticks, "tick", "ticks")
                    return f"its ticks arrive in market.ticks: {ticks} in {waited:.0f} s"
                if waited > ARRIVED_SECONDS:
                    return "no tick has arrived in a minute: `alphapanda status` says what the feed waits for"
                await asyncio.sleep(LOOKED_SECONDS)


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
