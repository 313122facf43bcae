"""A small HTTP server for what is only read: metrics and health. Each request has a thread; there are few at once.

It serves the paths it is given and nothing else: no folders, no traces of errors. A slow client costs a place for a bounded time; a
client too many is told so at once. It answers one request a connection.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast
from urllib.parse import urlsplit

import structlog
from typing_extensions import override

MOST_CONNECTIONS: Final = 32
"""Connections at once; one more gets 503."""

STEP_SECONDS: Final = 5.0
"""Longest wait for a client's next bytes, and for it to take ours."""

WHOLE_SECONDS: Final = 15.0
"""Longest life of a connection, however busy its client is with sending a byte now and then."""

METHODS: Final = "GET, HEAD, OPTIONS"
ANY_ORIGIN: Final = "*"
TEXT: Final = "text/plain; charset=utf-8"
_BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nRetry-After: 1\r\nConnection: close\r\n\r\nbusy\n"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """What a path answers with."""

    body: bytes
    content_type: str = TEXT
    status: HTTPStatus = HTTPStatus.OK


Answer = Callable[[str], Page]
"""Makes a page; gets the request's Accept header."""


class HttpEndpoint:
    """Serves pages at http://HOST:PORT.

    Args:
        host: address to bind.
        port: port to bind; 0 takes a free one.
        pages: by path, such as "/metrics".
        origins: origins whose pages in a browser may read (CORS); "*" alone means any.

    Attributes:
        port: the bound port.

    Raises:
        OSError: the port can't be bound.
    """

    def __init__(
        self, host: str, port: int, pages: Mapping[str, Answer], origins: Collection[str] = ()
    ) -> None:
        self._server = _Server(host, port, pages, frozenset(origins))
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="http", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Closes the port; connections that are open end by themselves."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, host: str, port: int, pages: Mapping[str, Answer], origins: Collection[str]) -> None:
        self.pages = pages
        self.origins = origins
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    @override
    def server_bind(self) -> None:
        """Binds without asking the name service for the address's name, as the base class does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.settimeout(0)
            request.send(_BUSY)
        self.shutdown_request(request)

    @override
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        end = threading.Timer(WHOLE_SECONDS, _cut, (request,))
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says in one line what went wrong with a connection; most are clients that left."""
        _log.debug("http.connection_failed", error=str(sys.exception()))


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = STEP_SECONDS
    server_version = "alphapanda"
    sys_version = ""

    @override
    def version_string(self) -> str:
        return self.server_version

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: what is read often is no news."""

    def do_GET(self) -> None:
        """Answers with a page."""
        self._answer(self._page())

    def do_HEAD(self) -> None:
        """Answers with the headers of a page."""
        self._answer(self._page())

    def do_OPTIONS(self) -> None:
        """Says which methods there are; a browser asks before it reads for another origin."""
        known = self._known()
        if known is None:
            self._answer(self._nothing_here())
            return
        self._answer(
            Page(b"", status=HTTPStatus.NO_CONTENT),
            {"Allow": METHODS, "Access-Control-Allow-Methods": METHODS},
        )

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Any other method is refused by name; the base class would call it unsupported by the server."""
        if name.startswith("do_"):
            return self._not_allowed
        raise AttributeError(name)

    @override
    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers in one line of text, without the request in it."""
        status = HTTPStatus(code)
        self._answer(Page(f"{status.phrase}\n".encode(), status=status))

    def _not_allowed(self) -> None:
        if self._known() is None:
            self._answer(self._nothing_here())
            return
        allowed = Page(f"only {METHODS}\n".encode(), status=HTTPStatus.METHOD_NOT_ALLOWED)
        self._answer(allowed, {"Allow": METHODS})

    def _known(self) -> Answer | None:
        return self._served.pages.get(urlsplit(self.path).path)

    @property
    def _served(self) -> _Server:
        return cast("_Server", self.server)

    def _nothing_here(self) -> Page:
        known = ", ".join(sorted(self._served.pages))
        return Page(f"nothing here; there is {known}\n".encode(), status=HTTPStatus.NOT_FOUND)

    def _page(self) -> Page:
        known = self._known()
        if known is None:
            return self._nothing_here()
        try:
            return known(self.headers.get("Accept", ""))
        except Exception:
            _log.error("http.request_failed", path=urlsplit(self.path).path, exc_info=True)
            self._answer(Page(b"Internal Server Error\n", status=HTTPStatus.INTERNAL_SERVER_ERROR))
            raise

    def _answer(self, page: Page, more: Mapping[str, str] | None = None) -> None:
        self.close_connection = True
        self.request_version = self.protocol_version  # headers also for what isn't HTTP/1
        self.send_response(page.status)
        headers = {
            "Content-Type": page.content_type,
            "Content-Length": str(len(page.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'",
            "Connection": "close",
        }
        for name, value in (headers | (self._cors() or {}) | {**(more or {})}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def _cors(self) -> dict[str, str]:
        origins, asked = self._served.origins, getattr(self, "headers", {}).get("Origin", "")
        if ANY_ORIGIN in origins:
            return {"Access-Control-Allow-Origin": ANY_ORIGIN}
        if not origins:
            return {}
        return {"Vary": "Origin"} | ({"Access-Control-Allow-Origin": asked} if asked in origins else {})
