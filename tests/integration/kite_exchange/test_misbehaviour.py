"""What goes wrong, as the unmodified kiteconnect sees it; limits, postbacks, and what tests in other processes may say."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import requests
from kiteconnect import KiteConnect, exceptions
from tests.integration.kite_exchange.conftest import fixed_exchange, logged_in
from tests.kite_exchange.exchange import APP
from tests.kite_exchange.faults import Fault
from tests.kite_exchange.server import ServerThread, serving
from tests.kite_exchange.sessions import App

BUY = {
    "variety": "regular", "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "quantity": 1,
    "product": "MIS", "order_type": "MARKET", "market_protection": 2,
}  # fmt: skip


def fault(stub: ServerThread, *faults: Fault) -> None:
    stub.do(lambda exchange: exchange.script.add(faults))


def order_fault(kind: str, **more: Any) -> Fault:
    return Fault(kind, "POST", "/orders/*", **more)


@pytest.mark.parametrize(
    ("kind", "raised", "text", "placed"),
    [
        ("timed_out", exceptions.InputException, "Order request timed out", 1),
        ("lost", requests.ConnectionError, None, 1),
        ("html_done", exceptions.DataException, "502 Bad Gateway", 1),
        ("cut", requests.exceptions.ChunkedEncodingError, None, 1),
        ("slow", requests.ReadTimeout, None, 1),
        ("slow_body", requests.ConnectionError, "timed out", 1),
        ("no_content_type", KeyError, "content-type", 1),
        ("not_json", exceptions.DataException, "Couldn't parse", 1),
        ("html", exceptions.DataException, "502 Bad Gateway", 0),
        ("reset", requests.ConnectionError, None, 0),
        ("no_error_type", TypeError, None, 0),
    ],
)
def test_an_order_may_have_been_placed_whatever_the_answer(
    stub: ServerThread, kind: str, raised: type[Exception], text: str | None, placed: int
) -> None:
    """Each fault is what the client makes of it, and the order book tells whether the order was placed."""
    kite = logged_in(stub)
    kite.timeout = 0.3
    fault(stub, order_fault(kind, seconds=0.1 if kind == "lost" else 0.5))
    with pytest.raises(raised, match=text):
        kite.place_order(**BUY)
    kite.timeout = 5
    assert len(kite.orders()) == placed


def test_errors_of_every_type_can_be_told(stub: ServerThread, kite: KiteConnect) -> None:
    """A fault's status, error_type and message arrive; an unknown type is the client's GeneralException."""
    fault(
        stub,
        Fault("error", status=504, error_type="NetworkException", message="Gateway timed out"),
        Fault("error", path="/orders", after=1, status=403, error_type="TwoFAException", message="2FA"),
    )
    with pytest.raises(exceptions.NetworkException, match="Gateway timed out") as refused:
        kite.profile()
    assert refused.value.code == 504
    kite.orders()
    with pytest.raises(exceptions.GeneralException, match="2FA"):
        kite.orders()
    kite.orders()


def test_too_many_requests_in_a_second_are_refused(stub: ServerThread, kite: KiteConnect) -> None:
    """Ten orders, ten others, three histories, one quote a calendar second; then 429 until the next one."""
    stub.do(lambda exchange: setattr(exchange.limits, "enforced", True))
    for _ in range(10):
        kite.place_order(**BUY)
    with pytest.raises(exceptions.NetworkException, match="Too many requests") as refused:
        kite.place_order(**BUY)
    assert refused.value.code == 429
    kite.ltp("NSE:INFY")
    with pytest.raises(exceptions.NetworkException):
        kite.ltp("NSE:INFY")
    stub.do(lambda exchange: exchange.clock.advance(1))
    kite.place_order(**BUY)
    assert stub.do(lambda exchange: exchange.limits.refused) == {"order": 1, "quote": 1}
    assert stub.do(lambda exchange: exchange.limits.busiest)["order"] == 11


def test_the_minute_and_the_day_are_counted(stub: ServerThread, kite: KiteConnect) -> None:
    """The 401st order request of a minute is a 429, the 5,001st of a day a 400, whether those before were good or not."""
    limits = stub.do(lambda exchange: exchange.limits)
    for _ in range(40):
        stub.do(lambda exchange: [exchange.limits.count("order", APP.user_id) for _ in range(10)])
        stub.do(lambda exchange: exchange.clock.advance(1))
    limits.enforced = True
    with pytest.raises(exceptions.NetworkException):
        kite.place_order(**BUY)
    stub.do(lambda exchange: exchange.clock.advance(60))
    stub.do(lambda exchange: exchange.limits.count_orders(APP.user_id, 4_600 - 1))
    with pytest.raises(exceptions.InputException, match="Maximum allowed order requests exceeded"):
        kite.place_order(**BUY)


class Received:
    """A small HTTP server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.came = threading.Event()
        received = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()
                received.came.set()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def received() -> Iterator[Received]:
    made = Received()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_an_update_is_posted_with_a_checksum(received: Received) -> None:
    """The app that placed an order gets its update, signed with its secret; an order by phone posts nothing."""
    exchange = fixed_exchange()
    app = App("key", "a" + "bc", postback_url=f"http://127.0.0.1:{received.server.server_port}/")
    exchange.sessions.apps["key"] = app
    with serving(exchange) as stub:
        form = {name: str(value) for name, value in BUY.items()}
        stub.do(lambda all_of_it: all_of_it.desk.place("AB1234", "regular", form))
        stub.do(lambda all_of_it: all_of_it.desk.place("AB1234", "regular", form, api_key="key"))
        assert received.came.wait(5)
    (told,) = received.bodies
    signed = f"{told['order_id']}{told['order_timestamp']}{app.api_secret}"
    assert told["checksum"] == hashlib.sha256(signed.encode()).hexdigest()
    assert (told["status"], told["user_id"], told["unfilled_quantity"]) == ("COMPLETE", "AB1234", 0)


def test_tests_in_other_processes_say_what_goes_wrong(stub: ServerThread, kite: KiteConnect) -> None:
    """What is told under /stub/ is done, and what can't be is refused with what could."""

    def tell(what: str, told: Any) -> Callable[[], Any]:
        return requests.post(f"{stub.server.api_root}/stub/{what}", json=told, timeout=5).json()

    assert tell("faults", [{"kind": "reset", "path": "/user/*"}]) == {"done": "1 added"}
    with pytest.raises(requests.ConnectionError):
        kite.profile()
    assert "kind: 'no' is none of" in tell("faults", [{"kind": "no"}])["error"]
    assert "a habit is one of" in tell("ticker", {"lazy": True})["error"]
    assert tell("price", {"instrument": "NSE:INFY", "price": "1500"}) == {"done": "NSE:INFY 1500"}
    assert "isn't listed" in tell("price", {"instrument": "NSE:NO", "price": 1})["error"]
    form = {**BUY, "quantity": 2}
    assert len(tell("orders", {"account": APP.user_id, "form": form})["done"]) == 19
    tell("dump", {"is": "shrunken"})
    assert len(kite.instruments()) == 199
    tell("dump", {"is": "empty"})
    assert kite.instruments() == []
    tell("session", {})
    with pytest.raises(exceptions.TokenException):
        kite.orders()
    state = requests.get(f"{stub.server.api_root}/stub/state", timeout=5).json()
    assert (state["orders"], state["logins"], len(state["faults_met"])) == (1, 1, 1)
