"""The WebSocket: subscriptions, binary quotes, order updates as text, heartbeats, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import WSMsgType, web
from tests.kite_exchange.errors import KiteError
from tests.kite_exchange.market import Market
from tests.kite_exchange.packets import HEARTBEAT, MODES, messages, packet
from tests.kite_exchange.sessions import App, Sessions

MOST_TOKENS: Final = 3_000
MOST_CONNECTIONS: Final = 3
_HEARTBEAT_SECONDS: Final = 1.0
_TEXTS_KEPT: Final = 1_000


@dataclass(slots=True)
class Habits:
    """How the ticker behaves; a test changes it while it runs.

    Attributes:
        silent: sends nothing, not even heartbeats, and answers no ping, as a half-open connection does.
        no_heartbeats: sends quotes alone.
        refuse: HTTP status with which every new connection is refused; 0: none is.
        repeat: sends each binary message twice.
        out_of_order: sends every other binary message after the one that follows it.
        zero: sends prices of 0.
        garbage: sends bytes that are no message between the messages.
        cut_order_updates: sends no order updates.
        repeat_order_updates: sends each order update twice, the second one later.
    """

    silent: bool = False
    no_heartbeats: bool = False
    refuse: int = 0
    repeat: bool = False
    out_of_order: bool = False
    zero: bool = False
    garbage: bool = False
    cut_order_updates: bool = False
    repeat_order_updates: bool = False


@dataclass(eq=False, slots=True)
class Connection:
    """A client that is connected.

    Attributes:
        app: who it is.
        access_token: with which token it came.
        socket: the WebSocket.
        modes: what it has subscribed to: mode by token.
        held: a message that waits for the next one.
    """

    app: App
    access_token: str
    socket: web.WebSocketResponse
    transport: asyncio.Transport | None
    modes: dict[int, str] = field(default_factory=dict)
    held: bytes | None = None
    due: set[int] = field(default_factory=set)
    texts: deque[str] = field(default_factory=lambda: deque(maxlen=_TEXTS_KEPT))
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self) -> None:
        """Cuts it off without a word."""
        if self.transport is not None:
            self.transport.abort()


@dataclass(slots=True)
class Ticker:
    """All connections.

    Attributes:
        market: whose prices are sent.
        sessions: who may connect.
        habits: how it behaves.
        connections: those that are open.
        connected: how many there have been.
        refused: how many were refused at the handshake.
    """

    market: Market
    sessions: Sessions
    habits: Habits = field(default_factory=Habits)
    connections: set[Connection] = field(default_factory=set)
    connected: int = 0
    refused: int = 0

    def subscribed(self) -> set[int]:
        """The tokens to which anybody has subscribed."""
        return set().union(*(connection.modes for connection in self.connections))

    def on_prices(self, tokens: set[int]) -> None:
        """Prices have changed: wakes who has subscribed."""
        for connection in self.connections:
            due = tokens & connection.modes.keys()
            if due:
                connection.due |= due
                connection.wake.set()

    def order_update(self, user_id: str, order: dict[str, Any]) -> None:
        """Sends an order update to all of the user's connections."""
        if self.habits.cut_order_updates:
            return
        text = json.dumps({"type": "order", "data": order})
        for connection in self.connections:
            if connection.app.user_id == user_id:
                connection.texts.append(text)
                if self.habits.repeat_order_updates:
                    connection.texts.append(text)
                connection.wake.set()

    def text(self, message: dict[str, Any]) -> None:
        """Sends a text message to everybody."""
        for connection in self.connections:
            connection.texts.append(json.dumps(message))
            connection.wake.set()

    def cut(self, user_id: str | None = None) -> int:
        """Cuts off the connections of a user, or all of them; returns how many."""
        found = [each for each in self.connections if user_id in {None, each.app.user_id}]
        for connection in found:
            connection.cut()
        return len(found)

    def cut_sessionless(self) -> None:
        """Cuts off those whose session has ended."""
        for connection in list(self.connections):
            try:
                self.sessions.of_token(connection.app.api_key, connection.access_token)
            except KiteError:
                connection.cut()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serves a connection until it ends; a refused handshake is a 403, as is one with a dead token."""
        query = request.query
        try:
            app = self.sessions.of_token(query.get("api_key", ""), query.get("access_token", ""))
        except KiteError as error:
            self.refused += 1
            return web.Response(status=403, text=error.message)
        if self.habits.refuse:
            self.refused += 1
            return web.Response(status=self.habits.refuse)
        if sum(each.app.api_key == app.api_key for each in self.connections) >= MOST_CONNECTIONS:
            self.refused += 1
            return web.Response(status=429, text="Too many connections")
        socket = web.WebSocketResponse(autoping=False, compress=False)
        await socket.prepare(request)
        connection = Connection(app, query["access_token"], socket, request.transport)
        self.connections.add(connection)
        self.connected += 1
        writer = asyncio.create_task(self._write(connection))
        try:
            await self._read(connection)
        finally:
            self.connections.discard(connection)
            writer.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await writer
        return socket

    async def _read(self, connection: Connection) -> None:
        async for message in connection.socket:
            if message.type is WSMsgType.PING:
                if not self.habits.silent:
                    await connection.socket.pong(message.data)
            elif message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                problem = self._asked(connection, message.data)
                if problem:
                    connection.texts.append(json.dumps({"type": "error", "data": problem}))
                connection.wake.set()

    def _asked(self, connection: Connection, text: str | bytes) -> str:
        """Does what a client asks for; returns what is wrong with it, or nothing."""
        try:
            asked = json.loads(text)
            action, value = asked["a"], asked["v"]
            mode, tokens = value if action == "mode" else ("quote", value)
            tokens = [int(token) for token in tokens]
        except (ValueError, KeyError, TypeError):
            return "Invalid JSON payload"
        if action == "unsubscribe":
            for token in tokens:
                connection.modes.pop(token, None)
            return ""
        if action not in {"subscribe", "mode"} or mode not in MODES:
            return f"Invalid action {action!r}"
        listed = [token for token in tokens if token in self.market.listing.by_token]
        if len(connection.modes.keys() | set(listed)) > MOST_TOKENS:
            return f"Too many tokens requested. Max permitted is {MOST_TOKENS}."
        for token in listed:
            if action == "mode" or token not in connection.modes:
                connection.modes[token] = mode
        connection.due.update(listed)
        return ""

    async def _write(self, connection: Connection) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(connection.wake.wait(), _HEARTBEAT_SECONDS)
            connection.wake.clear()
            if self.habits.silent:
                connection.due.clear()
                continue
            sent = await self._send_due(connection)
            if not sent and not self.habits.no_heartbeats:
                await connection.socket.send_bytes(HEARTBEAT)

    async def _send_due(self, connection: Connection) -> bool:
        sent = False
        while connection.texts:
            await connection.socket.send_str(connection.texts.popleft())
            sent = True
        due, connection.due = connection.due, set()
        for message in messages(self._packets(connection, due)):
            for each in self._as_is_the_habit(connection, message):
                await connection.socket.send_bytes(each)
            sent = True
        return sent

    def _packets(self, connection: Connection, due: set[int]) -> list[bytes]:
        made = []
        for token in sorted(due & connection.modes.keys()):
            quote = self.market.quote(token)
            if quote is not None:
                one = packet(quote, connection.modes[token])
                made.append(one[:4] + bytes(len(one) - 4) if self.habits.zero else one)
        return made

    def _as_is_the_habit(self, connection: Connection, message: bytes) -> list[bytes]:
        sent = [message]
        if self.habits.garbage:
            sent = [b"\x00\x05\xff\xff\x01", message]
        if self.habits.repeat:
            sent = [*sent, message]
        if self.habits.out_of_order and connection.held is None:
            connection.held = message
            return []
        if connection.held is not None:
            sent.append(connection.held)
            connection.held = None
        return sent
