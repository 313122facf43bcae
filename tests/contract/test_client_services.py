"""The Python client's types are the contract's RPCs."""

from __future__ import annotations

import sys
from pathlib import Path

from alphapanda.contract.catalogue import service_descriptors

sys.path.append(str(Path(__file__).parents[2] / "tools"))

import client_services


def test_the_types_are_what_the_contract_says() -> None:
    """`make gen` would change nothing in the client's types."""
    assert client_services.FILE.read_text() == client_services.written(service_descriptors())


def test_a_watch_is_a_stream_and_a_command_a_call() -> None:
    """Streams and calls are told apart, and each has its own messages."""
    text = client_services.written(service_descriptors())
    assert "\n    PlaceOrder: Call[trading.PlaceOrderRequest, trading.PlaceOrderResponse]\n" in text
    assert "\n    WatchOrders: StreamCall[trading.WatchOrdersRequest, trading.WatchOrdersResponse]\n" in text
