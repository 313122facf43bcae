"""A connection to the ticker, against a WebSocket server that misbehaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from structlog.testing import capture_logs

from alphapanda.kite.options import ReconnectionOptions
from alphapanda.kite.session import KiteSession, SessionFollower
from alphapanda.kite.subscriptions import Allocation, Mode
from alphapanda.kite.ticker import TickerConnection, TickerState, wait_seconds
from alphapanda.kite.tickers import TickerPool

server = pytest.importorskip("websockets.asyncio.server")

NOW = datetime(2026, 12, 1, 5, 0, tzinfo=UTC)
OPTIONS = ReconnectionOptions(timeout_seconds=2)
INFY, NIFTY = 408065, 256265


def session(number: int) -> KiteSession:
    """The session of the n-th login."""
    return KiteSession(
        "main", number, f"session-{number}", "key", f"token-{number}", NOW + timedelta(hours=20), "AB1234"
    )


@dataclass
class Server:
    """Answers as the ticker does.

    Attributes:
        accepts: tokens that are let in.
        serve: what it does on a connection after the first message.
        asked: what clients sent.
        tokens: the token of each attempt.
    """

    accepts: set[str] = field(default_factory=lambda: {"token-1"})
    serve: Callable[[Any], Awaitable[None]] | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    root: str = ""

    def admit(self, connection: Any, request: Any) -> Any:
        """Refuses a token as Kite does: 403 at the handshake."""
        token = parse_qs(urlsplit(request.path).query)["access_token"][0]
        self.tokens.append(token)
        return None if token in self.accepts else connection.respond(HTTPStatus.FORBIDDEN, f"no {token}")

    async def connected(self, connection: Any) -> None:
        """Reads what the client asks, and serves."""
        reading = asyncio.create_task(self._read(connection))
        try:
            if self.serve is None:
                while True:
                    await connection.send(b"\x00")
                    await asyncio.sleep(0.02)
            await self.serve(connection)
        finally:
            reading.cancel()

    async def _read(self, connection: Any) -> None:
        with suppress(Exception):
            async for message in connection:
                self.asked.append(json.loads(message))


@dataclass
class Received:
    """What a connection handed on."""

    messages: list[bytes] = field(default_factory=list)
    texts: list[dict[str, Any]] = field(default_factory=list)
    losses: int = 0

    def message(self, _: int, wall_ns: int, payload: bytes) -> None:
        """Takes a binary message."""
        assert wall_ns
        self.messages.append(payload)

    def text(self, _: int, __: int, message: dict[str, Any]) -> None:
        """Takes a text."""
        self.texts.append(message)

    def disconnected(self, _: int, __: int) -> None:
        """Counts."""
        self.losses += 1


@dataclass
class Rig:
    """A connection that runs against a server; waits are noted and don't take time."""

    server: Server
    sessions: SessionFollower
    connection: TickerConnection
    received: Received
    waits: list[float]
    refusals: list[str]


@asynccontextmanager
async def running(
    stub: Server, *, silent: float = 5.0, stable: float = 30.0, **options: Any
) -> AsyncIterator[Rig]:
    """Runs a connection, signed in once, that wants INFY."""
    waits: list[float] = []
    refusals: list[str] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0.001)

    async def refused(_: KiteSession, message: str) -> None:
        refusals.append(message)

    received = Received()
    sessions = SessionFollower("main", lambda: NOW, refused)
    sessions.put(session(1))
    async with server.serve(
        stub.connected, "127.0.0.1", 0, process_request=stub.admit, ping_interval=None
    ) as listening:
        stub.root = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        connection = TickerConnection(
            0, stub.root, sessions, OPTIONS, received, sleep=sleep, jitter=lambda: 0.0,
            silent_seconds=silent, stable_seconds=stable, **options,
        )  # fmt: skip
        connection.want({INFY: Mode.FULL})
        task = asyncio.create_task(connection.run())
        try:
            yield Rig(stub, sessions, connection, received, waits, refusals)
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(holds: Callable[[], object]) -> None:
    """Waits until something holds, at most 5 s."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.005)


async def test_it_signs_in_subscribes_and_hands_on_what_comes() -> None:
    """The token is the session's; a change of what is wanted reaches the open connection; texts are handed on."""

    async def serve(connection: Any) -> None:
        await connection.send(b"\x00\x01\x00\x08abcdefgh")
        await connection.send(json.dumps({"type": "order", "data": {"order_id": "1"}}))
        await connection.send("no JSON")
        await connection.wait_closed()

    async with running(Server(serve=serve)) as rig:
        await until(lambda: rig.received.texts and len(rig.server.asked) == 2)
        assert rig.connection.status.state is TickerState.CONNECTED
        rig.connection.want({INFY: Mode.QUOTE, NIFTY: Mode.FULL})
        await until(lambda: len(rig.server.asked) == 5)
    assert rig.server.tokens == ["token-1"]
    assert rig.received.messages == [b"\x00\x01\x00\x08abcdefgh"]
    assert rig.received.texts == [{"type": "order", "data": {"order_id": "1"}}]
    assert rig.server.asked == [
        {"a": "subscribe", "v": [INFY]},
        {"a": "mode", "v": ["full", [INFY]]},
        {"a": "subscribe", "v": [NIFTY]},
        {"a": "mode", "v": ["quote", [INFY]]},
        {"a": "mode", "v": ["full", [NIFTY]]},
    ]
    assert rig.connection.status.state is TickerState.STOPPED


async def test_a_silent_server_is_left_and_everything_is_subscribed_again() -> None:
    """A half-open connection says nothing, not even heartbeats: that is noticed, and the next connection asks for all again."""

    async def serve(connection: Any) -> None:
        await connection.wait_closed()

    with capture_logs() as logs:
        async with running(Server(serve=serve), silent=0.05) as rig:
            await until(lambda: rig.connection.status.connections == 2 and len(rig.server.asked) == 4)
    assert rig.server.asked[:2] == rig.server.asked[2:]
    lost = next(line for line in logs if line["event"] == "ticker.lost")
    assert "silent for 0.05 s" in lost["error"]
    assert rig.received.losses >= 1


async def test_a_flapping_link_is_an_alarm_after_five_attempts_and_tried_on_slowly() -> None:
    """That a handshake succeeds doesn't reset the count; waits grow to the longest one; the alarm comes once."""

    async def serve(connection: Any) -> None:
        await connection.send(b"\x00")
        connection.transport.abort()

    with capture_logs() as logs:
        async with running(Server(serve=serve)) as rig:
            await until(lambda: len(rig.waits) >= 7)
            assert rig.connection.status.alarmed
            assert rig.connection.status.state is not TickerState.STOPPED
    assert rig.waits[:7] == [1.0, 2.0, 4.0, 8.0, 60.0, 60.0, 60.0]
    assert [line["event"] for line in logs].count("ticker.down") == 1


async def test_a_connection_that_lasts_ends_the_row_of_failures() -> None:
    """After a while of messages the next loss counts as the first."""
    stub = Server()

    async def flap(connection: Any) -> None:
        connection.transport.abort()

    stub.serve = flap
    async with running(stub, stable=0.1) as rig:
        await until(lambda: rig.connection.status.failures >= 2)
        stub.serve = None
        await until(lambda: rig.connection.status.failures == 0)
        assert not rig.connection.status.alarmed


async def test_a_refused_token_stops_it_until_somebody_signs_in() -> None:
    """One 403 ends the session for all who follow it; nothing is tried with it again, and a new login heals."""
    stub = Server(accepts={"token-2"})
    with capture_logs() as logs:
        async with running(stub) as rig:
            await until(lambda: rig.refusals)
            await asyncio.sleep(0.05)
            assert stub.tokens == ["token-1"]
            assert rig.connection.status.state is TickerState.WAITING_FOR_SESSION
            assert "alphapanda kite login" in rig.connection.status.last_error
            rig.sessions.put(session(2))
            await until(lambda: rig.connection.status.state is TickerState.CONNECTED)
    assert stub.tokens == ["token-1", "token-2"]
    assert not rig.waits
    assert any(line["event"] == "ticker.session_refused" and line["alarm"] for line in logs)
    assert "token-1" not in str(logs) + str(rig.refusals)


async def test_who_must_sign_in_is_said_whatever_failed_before() -> None:
    """A session that ends while the link is down: the newest reason is the one that a person can do something about."""
    stub = Server()

    async def flap(connection: Any) -> None:
        connection.transport.abort()

    stub.serve = flap
    async with running(stub) as rig:
        await until(lambda: rig.connection.status.failures)
        rig.sessions.put(KiteSession("main", 2, "session-1", ended_because="the session ended at 06:00 IST"))
        await until(lambda: rig.connection.status.state is TickerState.WAITING_FOR_SESSION)
        assert rig.connection.status.last_error == (
            "account main: the session ended at 06:00 IST; run `alphapanda kite login`"
        )


async def test_a_fourth_connection_names_its_likely_cause() -> None:
    """Two processes that stream with one key are an easy mistake."""
    stub = Server()
    refused = HTTPStatus.TOO_MANY_REQUESTS
    stub.admit = lambda connection, _: connection.respond(refused, "")  # type: ignore[method-assign]
    async with running(stub) as rig:
        await until(lambda: rig.connection.status.failures)
        assert "does another process stream with its key?" in rig.connection.status.last_error
    assert not rig.refusals


async def test_a_new_login_ends_a_long_wait() -> None:
    """Nobody who has signed in waits a minute for prices because the server was away before."""
    long: list[float] = []

    async def sleep(seconds: float) -> None:
        long.append(seconds)
        await asyncio.sleep(60)

    stub = Server(accepts={"token-2"})
    sessions = SessionFollower("main", lambda: NOW)
    sessions.put(session(1))
    async with server.serve(stub.connected, "127.0.0.1", 0, process_request=stub.admit) as listening:
        root = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"

        async def lives(_: KiteSession) -> bool:
            return False

        connection = TickerConnection(0, root, sessions, OPTIONS, Received(), confirm=lives, sleep=sleep)
        connection.want({INFY: Mode.FULL})
        task = asyncio.create_task(connection.run())
        try:
            await until(lambda: long)
            sessions.put(session(2))
            await until(lambda: connection.status.state is TickerState.CONNECTED)
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_a_plan_without_market_data_ends_no_session() -> None:
    """Where the session lives elsewhere, a 403 is said and tried again slowly."""

    async def lives(_: KiteSession) -> bool:
        return False

    async with running(Server(accepts=set()), confirm=lives) as rig:
        await until(lambda: len(rig.waits) >= 2)
        assert "plan may be without market data" in rig.connection.status.last_error
    assert rig.waits[:2] == [60.0, 60.0]
    assert not rig.refusals


async def test_a_new_session_takes_the_place_of_the_one_that_streams() -> None:
    """Another login makes it connect anew at once, with the new token."""
    stub = Server(accepts={"token-1", "token-2"})
    async with running(stub) as rig:
        await until(lambda: rig.received.messages)
        rig.sessions.put(session(2))
        await until(lambda: stub.tokens == ["token-1", "token-2"])
        await until(lambda: rig.connection.status.state is TickerState.CONNECTED)
    assert not rig.waits


async def test_no_line_holds_the_token_where_nothing_listens() -> None:
    """An error's words don't show the address with which it was made."""
    sessions = SessionFollower("main", lambda: NOW)
    sessions.put(session(1))
    connection = TickerConnection(0, "ws://127.0.0.1:9", sessions, OPTIONS, Received(), jitter=lambda: 0.0)
    connection.want({INFY: Mode.FULL})
    with capture_logs() as more:
        task = asyncio.create_task(connection.run())
        await until(lambda: connection.status.failures)
        task.cancel()
        await asyncio.wait([task])
    assert any(line["event"] == "ticker.lost" for line in more)
    assert "token-1" not in str(more) + connection.status.last_error


async def test_a_pool_opens_the_connections_that_it_needs_and_names_what_has_no_room() -> None:
    """What is wanted least gets no place, with an alarm; the others are spread over the connections."""
    stub = Server()
    sessions = SessionFollower("main", lambda: NOW)
    sessions.put(session(1))
    async with server.serve(stub.connected, "127.0.0.1", 0, process_request=stub.admit) as listening:
        root = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        pool = TickerPool(
            lambda n: TickerConnection(n, root, sessions, OPTIONS, Received()), 2, most_tokens=2
        )
        await pool.start()
        try:
            pool.want({1: Mode.FULL, 2: Mode.FULL})
            await until(
                lambda: [each.state for each in pool.statuses] == [TickerState.CONNECTED, TickerState.IDLE]
            )
            assert not pool.problem
            with capture_logs() as logs:
                pool.want(dict.fromkeys([1, 2, 3, 4, 5], Mode.QUOTE))
            await until(lambda: all(each.state is TickerState.CONNECTED for each in pool.statuses))
            assert "1 instruments have no room" in pool.problem
            assert [line["event"] for line in logs] == ["ticker.instruments_left_out"]
            pool.want({})
            await until(lambda: all(each.state is TickerState.IDLE for each in pool.statuses))
        finally:
            await pool.stop()
    assert Allocation(2, 2).allocate({}) == ({}, {})


@pytest.mark.parametrize(
    ("failures", "jitter", "seconds"),
    [(1, 0.0, 1.0), (1, 1.0, 0.5), (4, 0.0, 8.0), (7, 0.0, 60.0), (999, 0.5, 45.0)],
)
def test_waits_double_up_to_the_longest_and_jitter_takes_away_up_to_half(
    failures: int, jitter: float, seconds: float
) -> None:
    """So many clients that lose a server together don't come back together."""
    assert wait_seconds(failures, OPTIONS, jitter) == seconds
