"""The adapter over kiteconnect, against a server that answers in every way Kite does."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from typing_extensions import override

from alphapanda.kite.limiter import CallKind
from alphapanda.kite.options import KiteOptions
from alphapanda.kite.outcomes import KiteReason, KiteRefused, KiteUnknown
from alphapanda.kite.rest import KiteRest
from alphapanda.kite.session import KiteSession, NoSession, SessionFollower

CANARY = "canary-rest-7Qx"
SESSION = KiteSession("default", 1, "s1", "key", CANARY, datetime.now(UTC) + timedelta(hours=1), "XY1234")
DAY = date(2026, 12, 1)
Say = Callable[[BaseHTTPRequestHandler], None]


def answer(status: int, body: bytes, kind: str | None = "application/json", **headers: str) -> Say:
    """Answers with this."""

    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        if kind is not None:
            handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", headers.pop("length", str(len(body))))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return say


def error(status: int, error_type: str, words: str) -> Say:
    """Answers with one of Kite's errors."""
    body = {"status": "error", "message": words, "error_type": error_type, "data": None}
    return answer(status, json.dumps(body).encode())


def data(value: Any) -> Say:
    """Answers with a success."""
    return answer(200, json.dumps({"status": "success", "data": value}).encode())


def silence(handler: BaseHTTPRequestHandler) -> None:
    """Says nothing for longer than anybody waits."""
    time.sleep(1.0)


def slowly(handler: BaseHTTPRequestHandler) -> None:
    """Sends a byte of a promised body now and then: each is in time, and the whole never comes."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "10000")
    handler.end_headers()
    for _ in range(40):
        try:
            handler.wfile.write(b" " * 200)
            handler.wfile.flush()
        except OSError:
            return
        time.sleep(0.05)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Ends the connection without a word."""
    handler.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def kite_that(say: Say) -> Iterator[tuple[str, list[tuple[str, str, dict[str, str]]]]]:
    """A server that does this with every request; yields its root and the requests: method, path, headers."""
    seen: list[tuple[str, str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append((self.command, self.path, dict(self.headers)))
            say(self)

        do_GET = do_POST = do_PUT = do_DELETE = respond  # noqa: N815

        @override
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


def rest_of(root: str, follower: SessionFollower | None = None, **options: Any) -> KiteRest:
    """The adapter, with a session and short time-outs."""
    if follower is None:
        follower = SessionFollower("default", lambda: datetime.now(UTC))
        follower.put(SESSION)
    short = KiteOptions(api_root=root, connect_timeout_seconds=0.3, read_timeout_seconds=0.3, **options)
    return KiteRest(
        short, follower, structlog.get_logger(), time.monotonic, lambda: datetime.now(UTC), lambda: DAY
    )


async def ordered(rest: KiteRest) -> str:
    """Places an order."""
    return await rest.place_order(
        CallKind.ENTRY,
        variety="regular",
        exchange="NSE",
        tradingsymbol="INFY",
        transaction_type="BUY",
        quantity=1,
        product="MIS",
        order_type="LIMIT",
        price=1500.0,
        tag="abc",
    )


UNREAD = [
    ("silence", silence),
    ("half a body", answer(200, b'{"status": "succ', length="4000")),
    ("no JSON", answer(200, b"all is well")),
    ("HTML with 200", answer(200, b"<html>", "text/html")),
    ("no content type", answer(200, b"{}", None)),
    ("no order id", data({})),
    ("an error without a class", answer(500, b'{"status": "error", "message": "?"}')),
    ("HTML with 502", answer(502, b"<html>Bad Gateway</html>", "text/html")),
    (
        "a time-out as a 400",
        error(400, "OrderException", "Order request timed out. Please check the order book"),
    ),
    ("hung up", hang_up),
    ("sent elsewhere", answer(302, b"", Location="/orders")),
]


@pytest.mark.parametrize("say", [say for _, say in UNREAD], ids=[name for name, _ in UNREAD])
async def test_an_order_without_a_clear_answer_is_unknown(say: Say) -> None:
    """Silence, half answers, what can't be read, time-outs, redirections: the order may have been placed, and isn't sent again."""
    with kite_that(say) as (root, seen):
        rest = rest_of(root)
        with pytest.raises(KiteUnknown):
            await ordered(rest)
        rest.stop()
        assert len(seen) == 1


async def test_an_answer_that_trickles_is_lost_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of which each byte comes in time can't hold a call for ever."""
    monkeypatch.setattr("alphapanda.kite.rest.ORDER_SECONDS", 0.4)
    with kite_that(slowly) as (root, _):
        rest, began = rest_of(root), time.monotonic()
        with pytest.raises(KiteUnknown, match="no whole answer in time"):
            await ordered(rest)
        rest.stop()
        assert time.monotonic() - began < 1.5


async def test_nobody_there_is_no_order() -> None:
    """A refused connection, or a host without a name, has placed nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    for root in (closed, "http://kite.invalid"):
        rest = rest_of(root)
        with pytest.raises(KiteRefused, match="no connection"):
            await ordered(rest)
        rest.stop()


async def test_a_listed_refusal_is_final() -> None:
    """What Kite refuses in known words was not placed."""
    with kite_that(error(400, "MarginException", "Insufficient funds. Required margin is 5")) as (root, _):
        rest = rest_of(root)
        with pytest.raises(KiteRefused, match=r"Insufficient funds.* \(HTTP 400\)") as refused:
            await ordered(rest)
        rest.stop()
        assert refused.value.reason is KiteReason.INSUFFICIENT_FUNDS


async def test_a_403_ends_the_session_for_everybody() -> None:
    """After a TokenException nobody calls with that token again, and who keeps the sessions is told once."""
    told: list[str] = []

    async def refused(session: KiteSession, words: str) -> None:
        told.append(f"{session.session_id}: {words}")

    follower = SessionFollower("default", lambda: datetime.now(UTC), refused)
    follower.put(SESSION)
    with kite_that(error(403, "TokenException", "Incorrect `api_key` or `access_token`.")) as (root, seen):
        rest = rest_of(root, follower)
        with pytest.raises(KiteRefused) as error_:
            await rest.profile()
        assert error_.value.reason is KiteReason.SESSION_DEAD
        for _ in range(3):
            with pytest.raises(NoSession):
                await rest.profile()
        rest.stop()
        assert len(seen) == 1
        assert (rest.figures.failed, rest.figures.last_error) == (1, "")
    assert told == ["s1: Incorrect `api_key` or `access_token`."]


async def test_a_new_session_is_used_at_once() -> None:
    """The adapter holds no token: the next call is made with the session of that moment."""
    follower = SessionFollower("default", lambda: datetime.now(UTC))
    with kite_that(data({"user_id": "XY1234", "user_name": "N", "exchanges": ["NSE"]})) as (root, seen):
        rest = rest_of(root, follower)
        with pytest.raises(NoSession):
            await rest.profile()
        for revision in (1, 2):
            follower.put(KiteSession("default", revision, f"s{revision}", "key", f"token-{revision}"))
            assert (await rest.profile()).user_id == "XY1234"
        rest.stop()
        assert [headers["Authorization"] for _, _, headers in seen] == [
            "token key:token-1",
            "token key:token-2",
        ]


async def test_a_token_is_in_no_error_and_no_log() -> None:
    """Whatever goes wrong, neither message, context nor log line shows the token."""
    for _, say in [*UNREAD, ("echo", answer(200, CANARY.encode()))]:
        with kite_that(say) as (root, _), capture_logs() as logs:
            rest = rest_of(root)
            with pytest.raises((KiteUnknown, KiteRefused)) as failed:
                await ordered(rest)
            rest.stop()
        chain: list[BaseException | None] = [failed.value]
        while chain[-1] is not None:
            chain.append(chain[-1].__cause__ or chain[-1].__context__)
        assert CANARY not in f"{[*map(repr, chain)]} {logs}"


async def test_who_leaves_takes_the_call_with_him_only_before_it_was_sent() -> None:
    """A cancelled caller doesn't free the place of a call that is under way: Kite may count it any moment."""
    with kite_that(silence) as (root, _):
        rest = rest_of(root)
        free = rest.limiter.headroom(CallKind.ENTRY)
        leaving = asyncio.create_task(ordered(rest))
        await asyncio.sleep(0.1)
        leaving.cancel()
        await asyncio.wait([leaving])
        assert rest.limiter.headroom(CallKind.ENTRY) < free
        rest.stop()


async def test_only_ipv4_is_used_where_it_is_wanted() -> None:
    """A host with both kinds of address is reached by IPv4, whose address is on the app's list."""
    with kite_that(data([])) as (root, _):
        port = root.rpartition(":")[2]
        rest = rest_of(f"http://localhost:{port}")
        assert await rest.orders() == []
        rest.stop()
        only_v6 = rest_of(f"http://[::1]:{port}")
        with pytest.raises(KiteRefused, match="no connection"):
            await only_v6.orders()
        only_v6.stop()


async def test_what_the_environment_says_of_proxies_and_passwords_doesnt_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """A ~/.netrc would replace the token, and a proxy the address that orders come from."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with kite_that(data([])) as (root, seen):
        rest = rest_of(root)
        await rest.orders()
        rest.stop()
        assert seen[0][2]["Authorization"] == f"token key:{CANARY}"


async def test_the_dump_comes_as_it_is() -> None:
    """The instruments are the CSV's bytes, not 120,000 dictionaries; JSON in their place is an error."""
    with kite_that(answer(200, b"instrument_token,exchange_token\n1,2\n", "text/csv")) as (root, seen):
        rest = rest_of(root)
        assert (await rest.instruments("NSE")).startswith(b"instrument_token")
        await rest.instruments()
        assert [path for _, path, _ in seen] == ["/instruments/NSE", "/instruments"]
        rest.stop()
    with kite_that(data([])) as (root, _):
        rest = rest_of(root)
        with pytest.raises(KiteUnknown, match="no CSV"):
            await rest.instruments()
        rest.stop()
