"""Makes ticks of Kite's packets: which figure is the price, the time, the volume. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from alphapanda.domain.frame import SECOND_NS
from alphapanda.kite.decoder import (
    ABSENT,
    FEW,
    LAYOUTS,
    PRICE_SCALES,
    Packets,
    decode,
    decode_few,
    packets_in,
)
from alphapanda.marketdata.core.live.columns import (
    NO_VOLUME,
    NOT_IN_PAISE,
    UNTIMED,
    LiveMessage,
    RawColumns,
    RawTick,
)
from alphapanda.marketdata.core.ticks import PRICE_SCALE


class _Places(NamedTuple):
    """Where the figures of a tick are in a packet; ABSENT: nowhere."""

    volume: int
    close: int
    time: int
    stamp: int


_PLACES: Final = {
    kind: _Places(
        layout.volume,
        layout.close,
        layout.stamped_at if layout.traded_at == ABSENT else layout.traded_at,
        layout.stamped_at,
    )
    for kind, layout in LAYOUTS.items()
}
_IN_PAISE: Final = [scale == PRICE_SCALE for scale in PRICE_SCALES.tolist()]


def live_message(payload: bytes, wall_ns: int) -> LiveMessage:
    """A message of Kite's as ticks.

    A tradable instrument's time is that of its last trade, an index's that of its value; quotes and last prices alone have none.

    Args:
        payload: its bytes.
        wall_ns: wall time at which it came, nanoseconds since the epoch.

    Raises:
        MalformedMessage: it ends within a packet.
    """
    count = packets_in(payload)
    if not count:
        return LiveMessage(wall_ns)
    if count <= FEW:
        return _few(payload, wall_ns)
    groups = decode(payload).groups
    newest = 0
    for group in groups:
        stamp = _PLACES[group.kind].stamp
        if stamp != ABSENT:
            newest = max(newest, int(group.words[:, stamp].max()))
    return LiveMessage(wall_ns, newest, (), [_columns(group) for group in groups])


def _few(payload: bytes, wall_ns: int) -> LiveMessage:
    ticks = []
    newest = 0
    for kind, row in decode_few(payload):
        volume, close, time, stamp = _PLACES[kind]
        if stamp != ABSENT and row[stamp] > newest:
            newest = row[stamp]
        token = row[0]
        ticks.append(
            RawTick(
                token,
                row[1] if _IN_PAISE[token & 0xFF] else NOT_IN_PAISE,
                UNTIMED if time == ABSENT else row[time] * SECOND_NS,
                NO_VOLUME if volume == ABSENT else row[volume],
                0 if close == ABSENT else row[close],
            )
        )
    return LiveMessage(wall_ns, newest, ticks)


def _columns(group: Packets) -> RawColumns:
    words, count = group.words, len(group.words)
    volume, close, time, _ = _PLACES[group.kind]
    price = words[:, 1]
    in_paise = group.price_scale == PRICE_SCALE
    if not in_paise.all():
        price = np.where(in_paise, price, NOT_IN_PAISE)
    return RawColumns(
        words[:, 0],
        price,
        np.full(count, UNTIMED, dtype=np.int64) if time == ABSENT else words[:, time] * SECOND_NS,
        np.full(count, NO_VOLUME, dtype=np.int64) if volume == ABSENT else words[:, volume],
        np.zeros(count, dtype=np.int64) if close == ABSENT else words[:, close],
    )
