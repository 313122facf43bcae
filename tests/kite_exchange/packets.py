"""The ticker's binary messages, encoded."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from tests.kite_exchange.market import Quote, exchange_second

MODES: Final = ("ltp", "quote", "full")
HEARTBEAT: Final = b"\x00"
MOST_PACKETS: Final = 200
"""Packets in one message; more are sent in the next."""
_U32: Final = 0xFFFF_FFFF


def packet(quote: Quote, mode: str) -> bytes:
    """The packet of a quote: 8 bytes (ltp), 28 or 32 (index), 44 or 184."""
    head = struct.pack(">II", quote.listed.instrument_token, quote.last & _U32)
    if mode == "ltp":
        return head
    if quote.listed.index:
        body = head + struct.pack(
            ">IIIIi", quote.high, quote.low, quote.open, quote.close, quote.last - quote.close
        )
        return body if mode == "quote" else body + struct.pack(">I", exchange_second(quote))
    bids, offers = quote.depth()
    body = head + struct.pack(
        ">9I", quote.last_quantity, quote.average & _U32, quote.volume & _U32, sum(bid[0] for bid in bids),
        sum(offer[0] for offer in offers), quote.open, quote.high, quote.low, quote.close,
    )  # fmt: skip
    if mode == "quote":
        return body
    second = exchange_second(quote)
    levels = b"".join(struct.pack(">IIHxx", *level) for level in (*bids, *offers))
    return body + struct.pack(">5I", second, 0, 0, 0, second) + levels


def messages(packets: Iterable[bytes]) -> Iterable[bytes]:
    """The packets in messages: a count, then each packet after its length."""
    held: list[bytes] = []
    for each in packets:
        held.append(struct.pack(">H", len(each)) + each)
        if len(held) == MOST_PACKETS:
            yield struct.pack(">H", len(held)) + b"".join(held)
            held = []
    if held:
        yield struct.pack(">H", len(held)) + b"".join(held)
