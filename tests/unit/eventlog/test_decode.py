"""Events to records and back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.contract import wire
from alphapanda.contract.topics import TopicMap
from alphapanda.domain import ids
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.order import Product
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.eventlog.decode import Reason, Unreadable, from_record, to_record
from alphapanda.eventlog.port import Record, StoredRecord
from alphapanda.eventlog.sqlite.database import _packed, _unpacked
from alphapanda.resilience.backoff import Backoff
from panda.events.v1.events_pb2 import Event

MOMENT = datetime(2026, 3, 2, 4, 0, 0, 123456, tzinfo=UTC)
TOPICS = TopicMap(("paper",))


def stored(record: Record) -> StoredRecord:
    return StoredRecord(record.topic, record.partition, 0, record.key, record.value, record.headers, 0)


def frame_event(ticks: int = 3) -> Event:
    columns = {
        "instrument_token": range(1, ticks + 1),
        "last_price": [100] * ticks,
        "exchange_time": [5] * ticks,
    }
    return wire.frame_event(
        Frame("run", 1, 7, nanoseconds(MOMENT), 100, **{k: list(v) for k, v in columns.items()}),
        "marketdata",
        MOMENT,
    )


def signal_event() -> Event:
    signal = Signal(
        signal_id=ids.derived_id("signal"),
        correlation_id=ids.derived_id("chain"),
        causation_id=ids.derived_id("chain"),
        key=PositionKey("paper", "default", "crossing", "NSE:INFY", Product.MIS),
        instrument_token=1,
        config_revision=2**63 - 1,
        target=10,
        side=None,
        quantity=None,
        terms=AT_MARKET,
        market_time=MOMENT,
        valid_until=MOMENT,
        reference_price=None,
        reason="r" * 500,
    )
    return wire.signal_event(signal, "strategy", MOMENT)


def test_a_frame_is_decoded_once_for_all_its_readers() -> None:
    """The second reader of a record gets the first one's event; an equal record, and another contract's reader, their own."""
    record = stored(to_record(frame_event(), TOPICS))
    event = from_record(record, TOPICS)
    assert from_record(record, TOPICS) is event
    equal = stored(to_record(frame_event(), TOPICS))
    assert from_record(equal, TOPICS) == event
    assert from_record(equal, TOPICS) is not event
    assert from_record(equal, TopicMap(("paper",))) is not from_record(equal, TOPICS)
    signal = stored(to_record(signal_event(), TOPICS))
    assert from_record(signal, TOPICS) is not from_record(signal, TOPICS)


def test_a_record_says_what_it_is_without_being_decoded() -> None:
    """CloudEvents headers carry id, type, source, time and content type; traceparent only where there is one."""
    event = frame_event()
    record = to_record(event, TOPICS)
    assert dict(record.headers) == {
        "ce_id": event.event_id.encode(),
        "ce_type": b"panda.events.v1.TickFrame",
        "ce_source": b"marketdata",
        "ce_time": b"2026-03-02T04:00:00.123456+00:00",
        "content-type": b"application/protobuf",
    }
    traced = to_record(event, TOPICS, "00-trace-span-01")
    assert traced.headers == (*record.headers, ("traceparent", b"00-trace-span-01"))
    assert (record.partition, record.key) == (1, b"1")
    assert from_record(stored(record), TOPICS) == event


@pytest.mark.parametrize(
    "column", ["last_price", "exchange_time", "bar_start", "volume", "open_interest", "open"]
)
def test_a_frame_with_columns_of_different_lengths_is_invalid(column: str) -> None:
    """A column that doesn't have a value per tick is named with its length."""
    event = frame_event()
    getattr(event.tick_frame, column).append(1)
    with pytest.raises(Unreadable, match=rf"tick_frame.{column}: \d values for 3 ticks") as caught:
        from_record(stored(to_record(event, TOPICS)), TOPICS)
    assert caught.value.reason is Reason.INVALID


def test_a_frames_bars_have_all_their_prices_or_none() -> None:
    """A bar's high and low come with its open; a frame of an earlier version has none of the three."""
    event = frame_event()
    event.tick_frame.open.extend([1, 2, 3])
    event.tick_frame.high.extend([1, 2, 3])
    with pytest.raises(Unreadable, match=r"tick_frame.low: 0 values for 3 opens"):
        from_record(stored(to_record(event, TOPICS)), TOPICS)
    event.tick_frame.low.extend([1, 2, 3])
    kept = wire.frame_from(from_record(stored(to_record(event, TOPICS)), TOPICS).tick_frame)
    assert (kept.open, kept.high, kept.low) == ([1, 2, 3],) * 3


def test_a_frame_must_have_its_own_id_and_a_price_scale() -> None:
    """event_id follows from feed run, shard and sequence; the scale is what prices are divided by."""
    event = frame_event()
    event.tick_frame.sequence += 1
    with pytest.raises(Unreadable, match=r"tick_frame.sequence: event_id .* is not the id of frame 8"):
        from_record(stored(to_record(event, TOPICS)), TOPICS)
    event = frame_event()
    event.tick_frame.price_scale = 0
    with pytest.raises(Unreadable, match=r"tick_frame.price_scale: 0 is not allowed"):
        from_record(stored(to_record(event, TOPICS)), TOPICS)


@pytest.mark.parametrize(
    ("field", "spoil"),
    [
        ("valid_until", lambda signal: setattr(signal.valid_until, "seconds", 10**14)),
        ("market_time", lambda signal: setattr(signal.market_time, "seconds", -1)),
        ("reason", lambda signal: setattr(signal, "reason", "a\0b")),
        ("config_revision", lambda signal: setattr(signal, "config_revision", 2**63)),
    ],
)
def test_what_no_store_can_keep_is_invalid(field: str, spoil) -> None:
    """It is no bug of whoever reads it: a key that parks for it could be neither redriven nor discarded."""
    event = signal_event()
    from_record(stored(to_record(event, TOPICS)), TOPICS)
    spoil(event.trading_signal)
    with pytest.raises(Unreadable, match=rf"trading_signal.{field}: .* is not allowed") as caught:
        from_record(stored(to_record(event, TOPICS)), TOPICS)
    assert caught.value.reason is Reason.INVALID


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_unreadable(value: bytes) -> None:
    """Whatever comes, from_record answers with an event or with the one error that consumers know."""
    record = StoredRecord(TOPICS.topic("trading_signal", "paper"), 0, 0, b"", value, (), 0)
    answer: Event | Unreadable
    try:
        answer = from_record(record, TOPICS)
    except Unreadable as unreadable:
        answer = unreadable
    assert answer.detail if isinstance(answer, Unreadable) else answer.HasField("trading_signal")


@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.binary(max_size=50))
    )
)
def test_headers_survive_the_table(headers) -> None:
    """Names of any script, empty values, repeated names: they come back in order."""
    assert _unpacked(_packed(tuple(headers))) == tuple(headers)


@given(st.floats(0.001, 10), st.floats(0.001, 100), st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_longer_than_the_longest_nor_shorter_than_half(
    initial, longest, failures, chance
) -> None:
    """Between half of the doubled wait and the doubled wait, which ends at the longest."""
    whole = min(longest, initial * 2 ** min(failures - 1, 30))
    assert whole / 2 <= Backoff(initial, longest, lambda: chance).seconds(failures) <= whole
