"""One connection to Kite's WebSocket: connects, subscribes, notices silence, and connects again. It never gives up silently."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import structlog

from alphapanda.domain.errors import InvalidInput
from alphapanda.kite.options import ReconnectionOptions
from alphapanda.kite.session import KiteSession, SessionFollower
from alphapanda.kite.subscriptions import Mode, Modes, changes
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line

SILENT_SECONDS: Final = 5.0
"""A server without a word for so long is gone: it sends a heartbeat every second or two."""
STABLE_SECONDS: Final = 30.0
"""A connection that has lived this long counts as one; what breaks earlier goes on with the attempts before."""
_LARGEST_MESSAGE: Final = 4 << 20
_FORBIDDEN: Final = 403
_TOO_MANY: Final = 429
_CLOSE_SECONDS: Final = 1.0

_SILENT: Final = logging.Logger("ticker", level=logging.CRITICAL + 1)  # noqa: LOG001 - known to nobody else
"""The library's own lines would hold the address, and with it the token."""

_log = structlog.get_logger(__name__)


class TickerState(StrEnum):
    """What a connection is doing."""

    IDLE = "idle"
    """Nothing is to be streamed on it."""
    WAITING_FOR_SESSION = "waiting_for_session"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    """Between two attempts."""
    STOPPED = "stopped"


@dataclass(slots=True)
class TickerStatus:
    """A connection as it is now.

    Attributes:
        state: what it is doing.
        failures: attempts in a row that have failed.
        connections: how often it has connected.
        last_error: why it isn't connected, in one line; empty where it is.
        last_message_ns: wall time of the last message, nanoseconds since the epoch; 0: none yet.
        alarmed: whether all attempts have failed, so that a person has to look.
    """

    state: TickerState = TickerState.IDLE
    failures: int = 0
    connections: int = 0
    last_error: str = ""
    last_message_ns: int = 0
    alarmed: bool = False


class Receiver(Protocol):
    """Takes what connections receive. It is called on the event loop and must return at once."""

    def message(self, connection: int, wall_ns: int, payload: bytes) -> None:
        """Takes a binary message that came at a wall time (nanoseconds since the epoch)."""

    def text(self, connection: int, wall_ns: int, message: dict[str, Any]) -> None:
        """Takes a text message: an order update, an error, or a message to people."""

    def disconnected(self, connection: int, wall_ns: int) -> None:
        """Is told that nothing comes from this connection from now on."""


Confirm = Callable[[KiteSession], Awaitable[bool]]
"""Asks whether a session is dead indeed, after the WebSocket has refused its token."""


async def _is_dead(_: KiteSession) -> bool:
    return True


class _Gone(Exception):
    """The connection is no use any more; the message says why."""


class _Replaced(Exception):
    """Another session has taken the place of the one of this connection."""


class TickerConnection:
    """Streams the ticks of up to 3,000 instruments.

    After a loss it connects again: `max_attempts` times with growing waits, then it raises an alarm and goes on at the longest
    wait. A refused token stops it until there is another session. Each connection begins with all its subscriptions.

    Args:
        number: of the connection, from 0.
        root: such as "wss://ws.kite.trade".
        sessions: the account's session.
        options: waits between attempts.
        receiver: takes what is received.
        confirm: asks whether a session is dead, where the WebSocket refuses it: a plan without market data is refused, too.
        listens: whether it is connected without anything to stream, too: for order updates.
        sleep: waits seconds.
        jitter: a number from 0 to below 1.
        wall_ns: wall time, nanoseconds since the epoch.
        silent_seconds: a server without a word for so long is gone.
        stable_seconds: how long a connection must live to count as one.

    Attributes:
        status: as it is now.
    """

    def __init__(
        self,
        number: int,
        root: str,
        sessions: SessionFollower,
        options: ReconnectionOptions,
        receiver: Receiver,
        *,
        confirm: Confirm = _is_dead,
        listens: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        wall_ns: Callable[[], int] = time.time_ns,
        silent_seconds: float = SILENT_SECONDS,
        stable_seconds: float = STABLE_SECONDS,
    ) -> None:
        self.status: Final = TickerStatus()
        self._number = number
        self._root = root
        self._sessions = sessions
        self._options = options
        self._receiver = receiver
        self._confirm = confirm
        self._listens = listens
        self._sleep = sleep
        self._jitter = jitter
        self._wall_ns = wall_ns
        self._silent_seconds = silent_seconds
        self._stable_seconds = stable_seconds
        self._wanted: Modes = {}
        self._changed = asyncio.Event()

    def want(self, wanted: Modes) -> None:
        """Sets what is to be streamed; nothing: the connection is closed."""
        if dict(wanted) != dict(self._wanted):
            self._wanted = dict(wanted)
            self._changed.set()

    async def run(self) -> None:
        """Connects, and streams until it is cancelled."""
        try:
            while True:
                await self._until_wanted()
                await self._one_connection(await self._live_session())
        finally:
            self.status.state = TickerState.STOPPED

    async def _until_wanted(self) -> None:
        while not self._wanted and not self._listens:
            self.status.state = TickerState.IDLE
            self.status.last_error = ""
            await self._changed.wait()
            self._changed.clear()

    async def _live_session(self) -> KiteSession:
        session = self._sessions.newest
        if session.access_token is None:
            self.status.state = TickerState.WAITING_FOR_SESSION
            why = session.ended_because or "nobody is signed in to Zerodha"
            self.status.last_error = f"account {session.account}: {why}; run `alphapanda kite login`"
            session = await self._sessions.live()
        return session

    async def _one_connection(self, session: KiteSession) -> None:
        """Connects once and streams; returns when it is time for the next attempt."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.status.state = TickerState.CONNECTING
        error = await attempted(self._connect_and_stream(session))
        if error is None or isinstance(error, _Replaced):
            return
        if isinstance(error, InvalidInput):
            raise error
        reason = self._in_words(error, session)
        if _status_of(error) == _FORBIDDEN:
            await self._refused(session, reason)
            return
        if loop.time() - began >= self._stable_seconds:
            self.status.failures, self.status.alarmed = 0, False
        await self._wait_for_next(session, reason)

    async def _connect_and_stream(self, session: KiteSession) -> None:
        await self._stream(await self._open(session), session)

    async def _open(self, session: KiteSession) -> Any:
        query = urlencode({"api_key": session.api_key, "access_token": session.access_token or ""})
        return await _websockets().connect(
            f"{self._root}?{query}",
            open_timeout=self._options.timeout_seconds,
            close_timeout=_CLOSE_SECONDS,
            proxy=None,  # as for the HTTP API: the token is in the address
            ping_interval=None,  # the server's heartbeats tell of silence, and Kite's own clients send no pings
            max_size=_LARGEST_MESSAGE,
            compression=None,
            logger=_SILENT,
        )

    async def _stream(self, socket: Any, session: KiteSession) -> None:
        """Reads until the connection breaks, its session is replaced, or nothing is wanted any more."""
        status = self.status
        sending = asyncio.create_task(self._keep_subscribed(socket), name=f"ticker {self._number} sends")
        replaced = asyncio.create_task(self._sessions.after(session), name=f"ticker {self._number} session")
        reading = asyncio.create_task(self._read(socket), name=f"ticker {self._number} reads")
        tasks = (sending, replaced, reading)
        try:
            status.state, status.last_error = TickerState.CONNECTED, ""
            status.connections += 1
            _log.info(
                "ticker.connected",
                account=session.account,
                connection=self._number,
                instruments=len(self._wanted),
            )
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if replaced in done:
                raise _Replaced
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await attempted(socket.close())
            self._receiver.disconnected(self._number, self._wall_ns())

    async def _read(self, socket: Any) -> None:
        status, receiver, number, now = self.status, self._receiver, self._number, self._wall_ns
        loop = asyncio.get_running_loop()
        stable_at = loop.time() + self._stable_seconds
        while True:
            try:
                async with asyncio.timeout(self._silent_seconds):
                    payload = await socket.recv()
            except TimeoutError:
                raise _Gone(
                    f"the server has been silent for {self._silent_seconds:g} s, without a heartbeat"
                ) from None
            status.last_message_ns = at = now()
            if (status.failures or status.alarmed) and loop.time() >= stable_at:
                status.failures, status.alarmed = 0, False
            if isinstance(payload, bytes):
                receiver.message(number, at, payload)
            else:
                self._text(at, payload)

    async def _keep_subscribed(self, socket: Any) -> None:
        sent: dict[int, Mode] = {}
        while self._wanted or self._listens:
            self._changed.clear()
            wanted = dict(self._wanted)
            for message in changes(sent, wanted):
                await socket.send(message)
            sent = wanted
            await self._changed.wait()

    def _text(self, at: int, payload: str) -> None:
        try:
            message = json.loads(payload)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            _log.warning("ticker.text_unreadable", connection=self._number, characters=len(payload))
            return
        if message.get("type") == "error":
            _log.warning(
                "ticker.error_received", connection=self._number, error=str(message.get("data"))[:300]
            )
        self._receiver.text(self._number, at, message)

    async def _refused(self, session: KiteSession, reason: str) -> None:
        """The token was refused: it stops until there is another session, unless that one lives."""
        if await self._confirm(session):
            _log.error(
                "ticker.session_refused",
                alarm=True,
                account=session.account,
                connection=self._number,
                error=reason,
            )
            await self._sessions.refuse(session, reason)
            return
        await self._wait_for_next(
            session,
            f"{reason}; the session lives, so the app's plan may be without market data",
            at_once_alarmed=True,
        )

    async def _wait_for_next(
        self, session: KiteSession, reason: str, *, at_once_alarmed: bool = False
    ) -> None:
        """Waits for the next attempt; another session ends the wait."""
        status, options = self.status, self._options
        status.failures += 1
        exhausted = at_once_alarmed or status.failures >= options.max_attempts
        seconds = wait_seconds(status.failures, options, self._jitter())
        if exhausted:
            seconds = options.max_delay_seconds
        status.state, status.last_error = TickerState.WAITING, reason
        if exhausted and not status.alarmed:
            status.alarmed = True
            _log.error(
                "ticker.down",
                alarm=True,
                connection=self._number,
                error=reason,
                failures=status.failures,
                wait_seconds=seconds,
            )
        else:
            _log.warning(
                "ticker.lost",
                connection=self._number,
                error=reason,
                failures=status.failures,
                wait_seconds=round(seconds, 3),
            )
        await self._sleep_unless_replaced(session, seconds)

    async def _sleep_unless_replaced(self, session: KiteSession, seconds: float) -> None:
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        replaced = asyncio.create_task(self._sessions.after(session))
        try:
            await asyncio.wait((sleeping, replaced), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            replaced.cancel()
            await asyncio.gather(sleeping, replaced, return_exceptions=True)

    def _in_words(self, error: BaseException, session: KiteSession) -> str:
        """An error in one line, without the token that the address holds."""
        words = str(error) if isinstance(error, _Gone) else in_one_line(error)
        for secret in (session.access_token, session.api_key):
            if secret:
                words = words.replace(secret, "…")
        if _status_of(error) == _TOO_MANY:
            words += "; Kite lets an app hold three connections: does another process stream with its key?"
        return words


def wait_seconds(failures: int, options: ReconnectionOptions, jitter: float) -> float:
    """The wait after so many failed attempts in a row, >= 1; `jitter`, from 0 to below 1, takes away up to half."""
    grown = options.base_delay_seconds * options.backoff_multiplier ** min(failures - 1, 64)
    return min(grown, options.max_delay_seconds) * (1 - jitter / 2)


def _status_of(error: BaseException) -> int:
    """The HTTP status with which a handshake was refused; 0: it wasn't."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _websockets() -> Any:
    """Imports websockets' client.

    Raises:
        InvalidInput: it isn't installed.
    """
    try:
        return import_module("websockets.asyncio.client")
    except ModuleNotFoundError:
        raise InvalidInput(
            "feed", "kite", "a feed of this installation; it needs alphapanda[zerodha]"
        ) from None
