"""P11: Kite's binary messages to serialised tick frames, against what pykiteconnect's parser makes of the same bytes."""

from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from statistics import median

from kiteconnect import KiteTicker
from tests.bench.figures import Figure

from alphapanda.contract.topics import shard_of
from alphapanda.contract.wire import frame_event, timestamp
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import SECOND_NS
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.kite.decoder import FEW, decode, decode_few, packets_in
from alphapanda.marketdata.core.data_account import DataAccount
from alphapanda.marketdata.core.live.framer import LiveFramer
from alphapanda.marketdata.feeds.kite_messages import live_message
from panda.events.v1.frame_pb2 import TickFrame

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
PACKETS_A_ROUND = 2_000
BARS = {1: 2.0, 20: 10.0, 100: 10.0}
TEN = int(datetime(2026, 12, 1, 4, 30, tzinfo=UTC).timestamp())
STAMP = timestamp(datetime.fromtimestamp(TEN, UTC))
NOW = datetime.fromtimestamp(TEN, UTC)


def measure() -> list[Figure]:
    """Messages of 1, 20 and 100 full packets: the decoder; with depth; and all that the live feed does with each of them."""
    figures = []
    for packets, bar in BARS.items():
        messages = _messages(packets)
        figures.append(_figure(packets, "to a serialised TickFrame, depth off", messages, _frame, bar))
        figures.append(_figure(packets, "with depth decoded, too", messages, _frame_with_depth, None))
        figures.append(
            _figure(
                packets,
                "to the serialised event that is published: late, repeated and wild ticks sorted out",
                messages,
                _published(packets),
                None,
            )
        )
    return figures


def _figure(
    packets: int, what: str, messages: list[bytes], ours: Callable[[bytes], object], bar: float | None
) -> Figure:
    parser = KiteTicker.__new__(KiteTicker)
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(ROUNDS + 1):
        for side, make in (("ours", ours), ("peer", parser._parse_binary)):
            began = time.process_time()
            for message in messages:
                make(message)
            seconds[side].append((time.process_time() - began) / len(messages) * 1e6)
    mine, peer = (median(seconds[side][1:]) for side in ("ours", "peer"))
    ratio = peer / mine
    return Figure(
        "P11",
        f"{packets} full packet{'s' * (packets > 1)} a message, {what}",
        f"{mine:.1f} µs",
        f"{peer:.1f} µs",
        ratio if bar else None,
        f">= {bar:g}x" if bar else "",
        ratio >= bar if bar else None,
        "processor time" if bar else f"{ratio:.1f}x",
    )


def _messages(packets: int) -> list[bytes]:
    """Messages of the same instruments, each with a newer trade."""
    chance = random.Random(11)
    prices = {_token(number): 150_000 for number in range(packets)}
    made = []
    for step in range(max(PACKETS_A_ROUND // packets, 20)):
        body = []
        for token, before in prices.items():
            prices[token] = price = before + 10 * chance.randint(-3, 3)
            second = TEN + step // 8
            words = [token, price, 5, price, 1000 + 5 * step, 9000, 8000, 150_000, 151_000, 149_000, 150_000]
            levels = b"".join(struct.pack(">IIHxx", 100 + level, price, 3) for level in range(10))
            body.append(struct.pack(">H16I", 184, *words, second, 0, 0, 0, second) + levels)
        made.append(struct.pack(">H", packets) + b"".join(body))
    return made


def _token(number: int) -> int:
    return (number + 1) << 8 | 1


def _frame(message: bytes) -> bytes:
    """Decodes a message of one kind of packet and serialises its columns."""
    if packets_in(message) <= FEW:
        rows = [row for _, row in decode_few(message)]
        return TickFrame(
            feed_run="kite:p11",
            shard=1,
            sequence=1,
            market_time=STAMP,
            price_scale=100,
            instrument_token=[row[0] for row in rows],
            last_price=[row[1] for row in rows],
            exchange_time=[row[11] * SECOND_NS for row in rows],
            volume=[row[4] for row in rows],
        ).SerializeToString()
    words = decode(message).groups[0].words
    return TickFrame(
        feed_run="kite:p11",
        shard=1,
        sequence=1,
        market_time=STAMP,
        price_scale=100,
        instrument_token=words[:, 0].tolist(),
        last_price=words[:, 1].tolist(),
        exchange_time=(words[:, 11] * SECOND_NS).tolist(),
        volume=words[:, 4].tolist(),
    ).SerializeToString()


def _frame_with_depth(message: bytes) -> bytes:
    decode(message, depth=True)
    return _frame(message)


def _published(packets: int) -> Callable[[bytes], object]:
    """What the live feed and the publisher do with a message, but for the stores: each round is a new run."""
    instruments = [
        Instrument(f"NSE:S{n}", _token(n), "NSE", f"S{n}", "", "NSE", "EQ", Decimal("0.05"), 1, 0, "NSE_EQ")
        for n in range(packets)
    ]
    directory, calendar = InstrumentDirectory(instruments), load_nse_calendar()
    account = DataAccount()
    new = partial(LiveFramer, "kite:p11", directory, calendar, 4, shard_of, account)
    length = max(PACKETS_A_ROUND // packets, 20)
    framer, step = new(), 0

    def publish(message: bytes) -> object:
        nonlocal framer, step
        if step == length:
            framer, step = new(), 0
        step += 1
        frames = framer.frames(live_message(message, TEN * SECOND_NS + step * SECOND_NS // 8))
        return [frame_event(frame, "marketdata", NOW).SerializeToString() for frame in frames]

    return publish
