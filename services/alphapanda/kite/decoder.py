"""Decodes Kite's binary messages into columns: whole numbers as they were sent, without an object for each packet.

A message is a count of packets (u16, big-endian) and for each its length (u16) and its bytes; a message of one byte is a heartbeat.
A packet's length says what it is (`PacketKind`), its token's last byte the exchange's segment, and that one the prices' scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Whole: TypeAlias = NDArray[np.int64]

HEARTBEAT_BYTES: Final = 1
"""Messages up to this length hold no packet: the server says that it is there."""
FEW: Final = 12
"""Up to so many packets Python's own loop is quicker than numpy's start."""
ABSENT: Final = -1
"""Stands for a figure that this kind of packet doesn't have."""
DEPTH_LEVELS: Final = 10
"""Rows of a full packet's depth: five bids, then five offers."""

_WORD: Final = np.dtype(">u4")
_HALF: Final = np.dtype(">u2")
_DEPTH_AT: Final = 64
_DEPTH_ROW: Final = 12


class PacketKind(IntEnum):
    """What a packet holds; the value is its length in bytes."""

    LAST_PRICE = 8
    INDEX_QUOTE = 28
    INDEX_FULL = 32
    QUOTE = 44
    FULL = 184


class Segment(IntEnum):
    """The exchange's segment: the last byte of an instrument token."""

    NSE = 1
    NFO = 2
    CDS = 3
    BSE = 4
    BFO = 5
    BCD = 6
    MCX = 7
    MCXSX = 8
    INDICES = 9
    NCO = 12


class MalformedMessage(ValueError):
    """A message isn't made as the protocol says: it ends within a packet."""


_SCALES: Final[dict[int, int]] = {Segment.CDS: 10_000_000, Segment.BCD: 10_000, Segment.NCO: 10_000}
PRICE_SCALES: Final[Whole] = np.array([_SCALES.get(segment, 100) for segment in range(256)], dtype=np.int64)
"""Units of a price in one rupee, by segment."""


class _Layout(NamedTuple):
    """Where the figures of a kind of packet are, as numbers of 4-byte words; ABSENT: nowhere."""

    words: int
    volume: int = ABSENT
    last_quantity: int = ABSENT
    average_price: int = ABSENT
    buy_quantity: int = ABSENT
    sell_quantity: int = ABSENT
    open: int = ABSENT
    high: int = ABSENT
    low: int = ABSENT
    close: int = ABSENT
    traded_at: int = ABSENT
    open_interest: int = ABSENT
    stamped_at: int = ABSENT


_QUOTE: Final = _Layout(
    words=11,
    last_quantity=2,
    average_price=3,
    volume=4,
    buy_quantity=5,
    sell_quantity=6,
    open=7,
    high=8,
    low=9,
    close=10,
)
_INDEX: Final = _Layout(words=7, high=2, low=3, open=4, close=5)
LAYOUTS: Final[dict[int, _Layout]] = {
    PacketKind.LAST_PRICE: _Layout(words=2),
    PacketKind.INDEX_QUOTE: _INDEX,
    PacketKind.INDEX_FULL: _INDEX._replace(words=8, stamped_at=7),
    PacketKind.QUOTE: _QUOTE,
    PacketKind.FULL: _QUOTE._replace(words=16, traded_at=11, open_interest=12, stamped_at=15),
}
"""By length of the packet."""
_ROWS: Final = {length: Struct(f">{layout.words}I") for length, layout in LAYOUTS.items()}


class Packets(NamedTuple):
    """The packets of one kind in a message, as columns.

    Attributes:
        kind: of all of them.
        words: a row a packet, a column a figure (`LAYOUTS`), whole numbers as they were sent.
        depth: by packet and level (five bids, five offers) quantity, price, orders; None unless it was asked for.
    """

    kind: int
    words: Whole
    depth: Whole | None = None

    @property
    def token(self) -> Whole:
        """Instrument tokens."""
        return self.words[:, 0]

    @property
    def last_price(self) -> Whole:
        """Last prices, in 1/scale rupees; 0: none."""
        return self.words[:, 1]

    @property
    def price_scale(self) -> Whole:
        """Units of each packet's prices in one rupee."""
        scales: Whole = PRICE_SCALES[self.words[:, 0] & 0xFF]
        return scales

    def column(self, figure: str) -> Whole | None:
        """A figure by its name in the layout, such as "volume" or "traded_at" (seconds since the epoch, 0: never); None: absent."""
        at: int = getattr(LAYOUTS[self.kind], figure)
        return None if at == ABSENT else self.words[:, at]


class Decoded(NamedTuple):
    """What a message held.

    Attributes:
        groups: its packets by kind.
        skipped: packets of a length that isn't known: of a later version of the protocol.
    """

    groups: Sequence[Packets]
    skipped: int = 0


NOTHING: Final = Decoded(())


def decode(message: bytes, *, depth: bool = False) -> Decoded:
    """Decodes a message into columns.

    Args:
        message: as it came.
        depth: whether the depth of full packets is decoded, too.

    Raises:
        MalformedMessage: it ends within a packet.
    """
    size = len(message)
    if size <= HEARTBEAT_BYTES:
        return NOTHING
    count = message[0] << 8 | message[1]
    if count and size >= 4:  # noqa: PLR2004 - the count and a first length
        length = message[2] << 8 | message[3]
        step = length + 2
        if size == 2 + count * step and length in LAYOUTS:
            lengths = np.ndarray((count,), _HALF, message, 2, (step,))
            if count == 1 or bool((lengths == length).all()):
                return Decoded((_rows_at(message, length, count, step, depth=depth),))
    places, skipped = _places(message, count)
    groups = [_gathered(message, length, np.array(begins), depth=depth) for length, begins in places.items()]
    return Decoded(groups, skipped)


def decode_few(message: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Decodes a message packet by packet: kind, and figures in the order of its layout. Quicker where there are few.

    Raises:
        MalformedMessage: it ends within a packet; raised after the packets before.
    """
    if len(message) <= HEARTBEAT_BYTES:
        return
    at = 2
    size = len(message)
    for _ in range(message[0] << 8 | message[1]):
        begin = at + 2
        if begin > size:
            raise _ends_early(message)
        length = message[at] << 8 | message[at + 1]
        at = begin + length
        if at > size:
            raise _ends_early(message)
        row = _ROWS.get(length)
        if row is not None:
            yield length, row.unpack_from(message, begin)


def packets_in(message: bytes) -> int:
    """How many packets a message says it has; 0 for a heartbeat."""
    return 0 if len(message) <= HEARTBEAT_BYTES else message[0] << 8 | message[1]


def _rows_at(message: bytes, length: int, count: int, step: int, *, depth: bool) -> Packets:
    """Packets that stand one after another at a fixed distance, as in a message of one mode: read where they are."""
    view = np.ndarray((count, LAYOUTS[length].words), _WORD, message, 4, (step, 4))
    levels = None
    if depth and length == PacketKind.FULL:
        at = 4 + _DEPTH_AT
        shape, strides = (count, DEPTH_LEVELS), (step, _DEPTH_ROW)
        parts = (
            np.ndarray(shape, _WORD, message, at, strides),
            np.ndarray(shape, _WORD, message, at + 4, strides),
            np.ndarray(shape, _HALF, message, at + 8, strides),
        )
        levels = np.stack([part.astype(np.int64) for part in parts], axis=2)
    return Packets(length, view.astype(np.int64, order="F"), levels)


def _gathered(message: bytes, length: int, begins: Whole, *, depth: bool) -> Packets:
    """Packets of one kind from their places in a message of several kinds."""
    content = np.frombuffer(message, np.uint8)
    words = 4 * LAYOUTS[length].words
    rows = content[begins[:, None] + np.arange(words)]
    levels = None
    if depth and length == PacketKind.FULL:
        table = content[begins[:, None] + np.arange(_DEPTH_AT, length)].reshape(-1, DEPTH_LEVELS, _DEPTH_ROW)
        levels = np.stack(
            [
                np.ascontiguousarray(table[:, :, begin:end]).view(width)[:, :, 0].astype(np.int64)
                for begin, end, width in ((0, 4, _WORD), (4, 8, _WORD), (8, 10, _HALF))
            ],
            axis=2,
        )
    return Packets(length, rows.view(_WORD).astype(np.int64, order="F"), levels)


def _places(message: bytes, count: int) -> tuple[dict[int, list[int]], int]:
    """Where the packets of each known length begin, and how many have another length."""
    places: dict[int, list[int]] = {}
    skipped, at, size = 0, 2, len(message)
    for _ in range(count):
        begin = at + 2
        if begin > size:
            raise _ends_early(message)
        length = message[at] << 8 | message[at + 1]
        at = begin + length
        if at > size:
            raise _ends_early(message)
        if length in LAYOUTS:
            places.setdefault(length, []).append(begin)
        else:
            skipped += 1
    return places, skipped


def _ends_early(message: bytes) -> MalformedMessage:
    return MalformedMessage(
        f"a message of {len(message)} bytes ends within a packet; it says that it has {packets_in(message)}"
    )
