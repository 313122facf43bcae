"""Serves the exchange: HTTP and WebSocket on one port, in this loop or in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self, TypeVar

from aiohttp import web
from tests.kite_exchange import (
    control_routes,
    gtt_routes,
    margin_routes,
    market_routes,
    order_routes,
    portfolio_routes,
    session_routes,
)
from tests.kite_exchange.envelope import answer
from tests.kite_exchange.exchange import EXCHANGE, Exchange, exchange_of

_BEAT_SECONDS: Final = 0.25
_STARTED_WITHIN_SECONDS: Final = 30.0
_ROUTES: Final = (
    session_routes,
    market_routes,
    order_routes,
    portfolio_routes,
    margin_routes,
    gtt_routes,
    control_routes,
)
T = TypeVar("T")


class Server:
    """Serves an exchange on loopback. Use it as an async context manager.

    Args:
        exchange: what is served.
        port: 0 takes a free one.
        hosts: the addresses that it listens on.

    Attributes:
        exchange: the same.
        port: the port it listens on, once it has started.
    """

    def __init__(self, exchange: Exchange, port: int = 0, hosts: Sequence[str] = ("127.0.0.1",)) -> None:
        self.exchange: Final = exchange
        self.port = port
        self._hosts = hosts
        self._runner: web.AppRunner | None = None
        self._beating: asyncio.Task[None] | None = None

    @property
    def api_root(self) -> str:
        """What to give as KiteConnect's root."""
        return f"http://{self._hosts[0]}:{self.port}"

    @property
    def ws_root(self) -> str:
        """What to give as KiteTicker's root."""
        return f"ws://{self._hosts[0]}:{self.port}"

    def login_url(self, api_key: str) -> str:
        """Where a person logs in."""
        return f"{self.api_root}/connect/login?v=3&api_key={api_key}"

    async def start(self) -> None:
        """Starts to listen."""
        self._runner = web.AppRunner(application(self.exchange), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        for host in self._hosts:
            site = web.TCPSite(self._runner, host, self.port)
            await site.start()
            self.port = self.port or self._runner.addresses[0][1]
        self._beating = asyncio.create_task(self._beat())

    async def stop(self) -> None:
        """Cuts everybody off and stops."""
        if self._beating is not None:
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating
        self.exchange.ticker.cut()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            self.exchange.beat()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def application(exchange: Exchange) -> web.Application:
    """The routes of an exchange."""
    app = web.Application(middlewares=[answer])
    app[EXCHANGE] = exchange
    for part in _ROUTES:
        app.add_routes(part.routes())
    app.add_routes([web.get("/", _ticker), web.get("/ws", _ticker)])
    return app


async def _ticker(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade", "").lower() != "websocket":
        return web.Response(text="A stub of Kite Connect. Its README is tests/kite_exchange/README.md.\n")
    return await exchange_of(request).ticker.serve(request)


class ServerThread:
    """A server in a thread of its own, for clients that block."""

    def __init__(self, server: Server) -> None:
        self.server: Final = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="kite-exchange", daemon=True)
        self._up = threading.Event()

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        self._thread.start()
        if not self._up.wait(_STARTED_WITHIN_SECONDS):
            raise TimeoutError("the exchange didn't start")

    def stop(self) -> None:
        """Stops it."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, what: Callable[[Exchange], T]) -> T:
        """Does something with the exchange in its thread, where alone it may be touched; returns its result."""

        async def done() -> T:
            return what(self.server.exchange)

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result()

    async def _end(self) -> None:
        await self.server.stop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self.server.start())
        self._up.set()
        self._loop.run_forever()


@contextmanager
def serving(
    exchange: Exchange, port: int = 0, hosts: Sequence[str] = ("127.0.0.1",)
) -> Iterator[ServerThread]:
    """Serves an exchange in a thread while the block runs."""
    thread = ServerThread(Server(exchange, port, hosts))
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()
