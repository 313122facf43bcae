"""The HTTP endpoint: it serves its pages and nothing else, and no client holds it up."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus

import pytest
from structlog.testing import capture_logs

from alphapanda.telemetry import http as endpoint
from alphapanda.telemetry.http import METHODS, HttpEndpoint, Page


def _broken(_accept: str) -> Page:
    raise KeyError("postgresql://panda:hunter2@db")  # pragma: allowlist secret


@pytest.fixture(params=[()], ids=str)
def served(request) -> Iterator[HttpEndpoint]:
    """An endpoint with a page, a broken one, and the origins that a test asks for."""
    made = HttpEndpoint(
        "127.0.0.1", 0, {"/page": lambda accept: Page(accept.encode()), "/broken": _broken}, request.param
    )
    yield made
    made.stop()


def ask(served: HttpEndpoint, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/page", 200, b"text/plain"),
        ("GET", "/page?x=1", 200, b"text/plain"),
        ("HEAD", "/page", 200, b""),
        ("OPTIONS", "/page", 204, b""),
        ("POST", "/page", 405, f"only {METHODS}\n".encode()),
        ("DELETE", "/page", 405, f"only {METHODS}\n".encode()),
        ("BREW", "/page", 405, f"only {METHODS}\n".encode()),
        ("GET", "/", 404, b"nothing here; there is /broken, /page\n"),
        ("GET", "/page/", 404, b"nothing here; there is /broken, /page\n"),
        ("GET", "/../etc/passwd", 404, b"nothing here; there is /broken, /page\n"),
        ("HEAD", "/none", 404, b""),
        ("POST", "/none", 404, b"nothing here; there is /broken, /page\n"),
    ],
)
def test_only_its_pages_are_served(
    served: HttpEndpoint, method: str, path: str, status: int, body: bytes
) -> None:
    """Other paths, folders and methods are answered as HTTP says, in one line."""
    found, headers, said = ask(served, method, path, Accept="text/plain")
    assert (found, said) == (status, body)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] == "alphapanda"
    assert ("Allow" in headers) is (status in {204, 405})


def test_a_broken_page_shows_nothing_of_its_error(
    served: HttpEndpoint, capfd: pytest.CaptureFixture[str]
) -> None:
    """The caller gets a status; the log gets the traceback, once; standard error nothing."""
    with capture_logs() as logs:
        status, _, body = ask(served, "GET", "/broken")
    assert (status, body) == (500, b"Internal Server Error\n")
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["http.request_failed"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /page HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /page HTTP/9.9\r\n\r\n", b"505"),
    ],
)
def test_what_is_no_request_is_refused(served: HttpEndpoint, sent: bytes, status: bytes) -> None:
    """Garbage and requests that are too long get a status and no echo of what was sent."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as client:
        client.sendall(sent)
        said = b""
        while more := client.recv(65_536):
            said += more
    assert said.split(b" ")[1] == status
    assert b"GARBAGE" not in said
    assert b"xxx" not in said


def test_too_many_and_slow_clients_are_bounded(served: HttpEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection too many is told so at once; those that only drip bytes are cut, and the next is served."""
    monkeypatch.setattr(endpoint, "WHOLE_SECONDS", 0.5)
    with ExitStack() as open_ones:
        slow = [
            open_ones.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=10))
            for _ in range(endpoint.MOST_CONNECTIONS)
        ]
        for one in slow:
            one.sendall(b"GET /pa")
        refused = socket.create_connection(("127.0.0.1", served.port), timeout=10)
        assert open_ones.enter_context(refused).recv(100).startswith(b"HTTP/1.1 503 ")
        assert {one.recv(100) for one in slow} == {b""}
    assert ask(served, "GET", "/page", Accept="x")[0] == HTTPStatus.OK


@pytest.mark.parametrize(
    ("served", "origin", "allowed"),
    [
        ((), "https://desk.example", None),
        (("https://desk.example",), "https://desk.example", "https://desk.example"),
        (("https://desk.example",), "https://evil.example", None),
        (("*",), "https://evil.example", "*"),
    ],
    indirect=["served"],
)
def test_only_named_origins_may_read(served: HttpEndpoint, origin: str, allowed: str | None) -> None:
    """A page of another origin gets no permission, unless the settings name it; caches are told that it depends."""
    for method in ("GET", "OPTIONS", "HEAD"):
        _, headers, _ = ask(served, method, "/page", Origin=origin)
        assert headers.get("Access-Control-Allow-Origin") == allowed
        assert ("Vary" in headers) is (served._server.origins == {"https://desk.example"})


def test_ipv6_is_an_address_too() -> None:
    """The loopback of either family."""
    made = HttpEndpoint("::1", 0, {})
    assert made.port
    made.stop()
