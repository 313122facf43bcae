"""Kite's binary messages: the decoder against pykiteconnect's parser and against the protocol's own words."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapanda.kite.decoder import (
    LAYOUTS,
    NOTHING,
    PRICE_SCALES,
    MalformedMessage,
    PacketKind,
    Segment,
    decode,
    decode_few,
    packets_in,
)

pytest.importorskip("kiteconnect")
from kiteconnect import KiteTicker

LENGTHS = [kind.value for kind in PacketKind]
SEGMENTS = [segment.value for segment in Segment]


def message_of(packets: list[bytes]) -> bytes:
    """A message as the server makes it."""
    return struct.pack(">H", len(packets)) + b"".join(struct.pack(">H", len(each)) + each for each in packets)


def naive(message: bytes) -> list[dict[str, Any]]:
    """What pykiteconnect makes of a message."""
    parser = KiteTicker.__new__(KiteTicker)
    parsed: list[dict[str, Any]] = parser._parse_binary(message)
    return parsed


def a_packet(draw: st.DrawFn, length: int) -> bytes:
    number = draw(st.integers(0, 2**24 - 1))
    token = number << 8 | draw(st.sampled_from(SEGMENTS))
    body = draw(st.binary(min_size=length - 4, max_size=length - 4))
    packet = struct.pack(">I", token) + body
    if (
        length >= PacketKind.FULL
    ):  # pykiteconnect makes dates of any second, and some years take it a long time
        packet = (
            packet[:44]
            + struct.pack(">I", 1_764_000_000)
            + packet[48:60]
            + struct.pack(">I", 7)
            + packet[64:]
        )
    return packet


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Messages of one kind of packet, as a server sends them mostly, and of any mixture."""
    lengths = draw(
        st.one_of(
            st.tuples(st.sampled_from(LENGTHS), st.integers(1, 30)).map(lambda drawn: [drawn[0]] * drawn[1]),
            st.lists(st.sampled_from(LENGTHS), max_size=20),
        )
    )
    return message_of([a_packet(draw, length) for length in lengths])


@given(messages())
@settings(max_examples=150, deadline=None)
def test_every_figure_is_the_one_that_pykiteconnect_reads(message: bytes) -> None:
    """Random packets of every length, segment and price scale have the same figures in both decoders, depth included."""
    require_as_pykiteconnect_reads(message)


def require_as_pykiteconnect_reads(message: bytes) -> None:
    """Requires that each figure of a message is the one that pykiteconnect reads."""
    expected: dict[int, list[dict[str, Any]]] = {}
    for one in naive(message):
        expected.setdefault(_kind_of(one), []).append(one)
    decoded = decode(message, depth=True)
    assert decoded.skipped == 0
    assert [group.kind for group in decoded.groups] == list(expected)
    for group in decoded.groups:
        for at, one in enumerate(expected[group.kind]):
            scale = int(group.price_scale[at])
            assert group.token[at] == one["instrument_token"]
            assert group.last_price[at] / scale == one["last_price"]
            for figure, key in (
                ("volume", "volume_traded"),
                ("last_quantity", "last_traded_quantity"),
                ("buy_quantity", "total_buy_quantity"),
                ("sell_quantity", "total_sell_quantity"),
                ("open_interest", "oi"),
            ):
                column = group.column(figure)
                assert (None if column is None else column[at]) == one.get(key)
            for figure in ("open", "high", "low", "close"):
                column = group.column(figure)
                assert (None if column is None else column[at] / scale) == one.get("ohlc", {}).get(figure)
            average = group.column("average_price")
            assert (None if average is None else average[at] / scale) == one.get("average_traded_price")
            if "depth" in one:
                assert group.depth is not None
                rows = [*one["depth"]["buy"], *one["depth"]["sell"]]
                assert [[q, p / scale, o] for q, p, o in group.depth[at].tolist()] == [
                    [row["quantity"], row["price"], row["orders"]] for row in rows
                ]


@given(messages())
@settings(max_examples=100, deadline=None)
def test_both_ways_to_decode_read_the_same(message: bytes) -> None:
    """Packet by packet and as columns, a message has the same rows."""
    few: dict[int, list[list[int]]] = {}
    for kind, row in decode_few(message):
        few.setdefault(kind, []).append(list(row))
    assert {group.kind: group.words.tolist() for group in decode(message).groups} == few
    assert packets_in(message) == sum(map(len, few.values()))


def _kind_of(parsed: dict[str, Any]) -> int:
    if "last_traded_quantity" in parsed:
        return PacketKind.FULL if "depth" in parsed else PacketKind.QUOTE
    if "ohlc" in parsed:
        return PacketKind.INDEX_FULL if "exchange_timestamp" in parsed else PacketKind.INDEX_QUOTE
    return PacketKind.LAST_PRICE


def test_a_heartbeat_holds_nothing() -> None:
    """A message of one byte, or none, says only that the server is there."""
    for message in (b"", b"\x00"):
        assert decode(message) is NOTHING
        assert not list(decode_few(message))
        assert packets_in(message) == 0


@pytest.mark.parametrize("length", LENGTHS)
def test_a_message_that_is_cut_anywhere_is_refused(length: int) -> None:
    """No part of a message passes for a whole one."""
    message = message_of([bytes(length), bytes(8), bytes(length)])
    for end in range(2, len(message)):
        with pytest.raises(MalformedMessage, match=f"a message of {end} bytes ends within a packet"):
            decode(message[:end])
        with pytest.raises(MalformedMessage):
            list(decode_few(message[:end]))


def test_a_packet_of_an_unknown_length_is_skipped_and_counted() -> None:
    """What a later version of the protocol adds doesn't keep the rest from being read."""
    known = struct.pack(">II", 408065, 150_025)
    decoded = decode(message_of([bytes(60), known, bytes(60)]))
    assert decoded.skipped == 2
    assert [group.words.tolist() for group in decoded.groups] == [[[408065, 150_025]]]
    assert list(decode_few(message_of([bytes(60), known]))) == [(8, (408065, 150_025))]
    assert decode(message_of([bytes(60)] * 3)).skipped == 3


def test_bytes_after_the_last_packet_are_ignored_as_by_the_vendors_own_parser() -> None:
    """The count says how many packets there are."""
    message = message_of([struct.pack(">II", 408065, 150_025)])
    assert decode(message + b"\x01\x02").groups[0].words.tolist() == [[408065, 150_025]]


def test_prices_have_the_scale_of_their_segment() -> None:
    """Currencies have more decimals than stocks."""
    assert PRICE_SCALES[[Segment.NSE, Segment.CDS, Segment.BCD, Segment.NCO, Segment.INDICES]].tolist() == [
        *(100, 10_000_000, 10_000, 10_000, 100)
    ]


def test_an_index_has_no_volume() -> None:
    """Its packets have no such figure, and neither have those of the last price alone."""
    without = {kind for kind in PacketKind if LAYOUTS[kind].volume < 0}
    assert without == {PacketKind.LAST_PRICE, PacketKind.INDEX_QUOTE, PacketKind.INDEX_FULL}
    assert decode(message_of([bytes(32)])).groups[0].column("volume") is None
