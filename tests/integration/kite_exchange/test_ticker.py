"""The ticker, by the unmodified KiteTicker in a process of its own."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kiteconnect import KiteConnect
from tests.integration.kite_exchange.conftest import fixed_exchange, logged_in
from tests.kite_exchange.exchange import APP, Exchange
from tests.kite_exchange.server import ServerThread, serving

INFY, NIFTY = 408065, 256265


class Said:
    """A KiteTicker's process, and what it says."""

    def __init__(self, stub: ServerThread, access_token: str) -> None:
        command = [sys.executable, "-m", "tests.kite_exchange.kite_ticker", APP.api_key, access_token]
        self.process = subprocess.Popen(
            [*command, stub.server.ws_root, f"{INFY},{NIFTY}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TZ": "Asia/Kolkata"},
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def until(self, right: Callable[[str, Any], bool], seconds: float = 20) -> Any:
        """What is told with the first thing said for which this holds."""
        end = time.monotonic() + seconds
        while True:
            kind, told = json.loads(self._lines.get(timeout=max(end - time.monotonic(), 0.01)))
            if right(kind, told):
                return told

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)


@contextmanager
def connected() -> Iterator[tuple[ServerThread, KiteConnect, Said]]:
    """A stub, a client and a connected KiteTicker."""
    with serving(fixed_exchange()) as stub:
        stub.do(lambda exchange: setattr(exchange, "wanders", False))
        stub.do(lambda exchange: exchange.market.opens([(INFY, 150_000)]))
        kite = logged_in(stub)
        said = Said(stub, kite.access_token)
        try:
            said.until(lambda kind, _: kind == "connect")
            yield stub, kite, said
        finally:
            said.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[ServerThread, KiteConnect, Said]]:
    """They are shared by tests that leave the session and the connection as they are."""
    with connected() as made:
        yield made


@pytest.fixture
def own() -> Iterator[tuple[ServerThread, KiteConnect, Said]]:
    """They are one test's own."""
    with connected() as made:
        yield made


def trade(price: int, volume: int) -> Callable[[Exchange], set[int]]:
    """A trade in INFY, which the index follows."""
    return lambda exchange: exchange.market.trade([(INFY, price, volume)], exchange.clock.ns(), followed=True)


def test_ticks_of_a_stock_and_of_an_index_arrive(shared: tuple[ServerThread, KiteConnect, Said]) -> None:
    """A trade arrives with price, volume, depth and the exchange's time; the index moves with it."""
    stub, _, said = shared
    stub.do(trade(150_000, 10))
    stub.do(trade(151_505, 25))
    ticks = said.until(
        lambda kind, told: kind == "ticks" and any(tick["last_price"] == 1515.05 for tick in told)
    )
    infy = next(tick for tick in ticks if tick["instrument_token"] == INFY)
    assert (infy["mode"], infy["tradable"], infy["volume_traded"]) == ("full", True, 25)
    assert infy["last_traded_quantity"] == 15
    assert infy["exchange_timestamp"] == "2026-12-01 10:00:00"
    assert infy["depth"]["buy"][0]["price"] < 1515.05 < infy["depth"]["sell"][0]["price"]
    index = next(tick for tick in ticks if tick["instrument_token"] == NIFTY)
    assert (index["tradable"], index["mode"]) == (False, "full")
    assert index["ohlc"]["open"] <= index["last_price"]


def test_a_quiet_connection_gets_heartbeats(shared: tuple[ServerThread, KiteConnect, Said]) -> None:
    """Without trades one byte comes every second."""
    _, _, said = shared
    assert said.until(lambda kind, told: kind == "message" and told == 1) == 1


def test_texts_arrive(shared: tuple[ServerThread, KiteConnect, Said]) -> None:
    """An error text is told as an error with code 0, an order update as an order."""
    stub, _, said = shared
    stub.do(lambda exchange: exchange.ticker.text({"type": "error", "data": "Something"}))
    assert said.until(lambda kind, _: kind == "error") == [0, "Something"]
    stub.do(lambda exchange: exchange.ticker.order_update(APP.user_id, {"order_id": "1"}))
    assert said.until(lambda kind, _: kind == "order") == {"order_id": "1"}


def test_an_orders_end_arrives(shared: tuple[ServerThread, KiteConnect, Said]) -> None:
    """An order that trades is told as COMPLETE, with a blank checksum."""
    _, kite, said = shared
    order_id = kite.place_order("regular", "NSE", "INFY", "BUY", 1, "MIS", "MARKET", market_protection=1)
    told = said.until(lambda kind, told: kind == "order" and told["order_id"] == order_id)
    assert (told["status"], told["filled_quantity"], told["checksum"]) == ("COMPLETE", 1, "")


def test_a_cut_connection_comes_back_with_its_subscriptions(
    own: tuple[ServerThread, KiteConnect, Said],
) -> None:
    """After a cut the client connects again and subscribes again; so an ended session is refused with 403."""
    stub, _, said = own
    assert stub.do(lambda exchange: exchange.ticker.cut()) == 1
    said.until(lambda kind, _: kind == "connect")
    stub.do(trade(152_000, 40))
    said.until(lambda kind, told: kind == "ticks" and any(tick["last_price"] == 1520 for tick in told))
    stub.do(lambda exchange: exchange.sessions.end(APP.api_key))
    refused = said.until(lambda kind, told: kind == "error" and "403" in told[1])
    assert "403 - Forbidden" in refused[1]
