"""A stub exchange in a thread of its own, and the unmodified kiteconnect logged in to it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from kiteconnect import KiteConnect
from tests.kite_exchange.clock import Clock
from tests.kite_exchange.exchange import APP, Exchange
from tests.kite_exchange.server import ServerThread, serving

TUESDAY_TEN = 1_796_099_400 * 1_000_000_000
"""1 December 2026, 10:00 in India."""


def fixed_exchange(rows: int = 400) -> Exchange:
    """An exchange whose clock stands at a Tuesday's ten o'clock until a test moves it."""
    exchange = Exchange.of(clock=Clock(lambda: TUESDAY_TEN), rows=rows)
    exchange.limits.enforced = False
    return exchange


def logged_in(stub: ServerThread) -> KiteConnect:
    """A client that has gone through the whole login."""
    kite = KiteConnect(APP.api_key, root=stub.server.api_root)
    answer = requests.get(stub.server.login_url(APP.api_key), allow_redirects=False, timeout=5)
    token = parse_qs(urlsplit(answer.headers["Location"]).query)["request_token"][0]
    kite.generate_session(token, APP.api_secret)
    return kite


@pytest.fixture
def stub() -> Iterator[ServerThread]:
    """A stub exchange of this test's own."""
    with serving(fixed_exchange()) as thread:
        yield thread


@pytest.fixture
def kite(stub: ServerThread) -> KiteConnect:
    """A client that is logged in to it."""
    return logged_in(stub)
