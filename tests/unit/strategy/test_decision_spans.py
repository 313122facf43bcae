"""The spans of strategies' decisions: the frame's as root, the decision under it, links to the frames of the bar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from alphapanda.consuming.delivery import Delivery
from alphapanda.contract.topics import TopicMap
from alphapanda.contract.wire import frame_event, signal_event
from alphapanda.domain import ids
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.order import Product
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.port import StoredRecord
from alphapanda.strategy.decision_spans import DecisionSpans
from alphapanda.telemetry import spans
from alphapanda.telemetry.frame_span import frame_context
from alphapanda.telemetry.tracing import Kind, Span, Tracer

TOPICS = TopicMap(("paper",))
OPEN = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
INFY, TCS = 408065, 2953217
MINUTE_NS = 60_000_000_000


class Decisions:
    """The spans of a strategy on bars of a minute (0: on ticks), on frames of a second."""

    def __init__(self, bar_ns: int = MINUTE_NS) -> None:
        self.recorded: list[Span] = []
        strategy, marketdata = (
            Tracer(service, self.recorded.append, "sqlite") for service in ("strategy", "marketdata")
        )
        self.spans = DecisionSpans(strategy, marketdata, TOPICS, lambda _: bar_ns)

    def frame(self, second: int, token: int = INFY, *signals: Signal, traceparent: str = "", **more) -> Frame:
        at = OPEN + timedelta(seconds=second)
        frame = Frame("run", 0, second + 1, nanoseconds(at), 100, [token], [150_000], [nanoseconds(at)])
        event = frame_event(frame, "marketdata", at)
        made = to_record(event, TOPICS, traceparent)
        appended_ns = nanoseconds(at) + 5_000
        record = StoredRecord(
            made.topic, made.partition, second, made.key, made.value, made.headers, appended_ns
        )
        now_ns = more.pop("now_ns", appended_ns + 1)
        self.spans.decided(Delivery(event, "", record), frame, signals, now_ns, **({"resumed": False} | more))
        return frame

    def publish(self, *signals: Signal) -> None:
        records = [
            to_record(signal_event(one, "strategy", OPEN), TOPICS, self.spans.traceparent(one))
            for one in signals
        ]
        self.spans.published(signals, records, self.spans.now())


def signal(second: int, ordinal: int = 0) -> Signal:
    """A signal at this second, of the frame of that second."""
    frame_id = ids.frame_id("run", 0, second + 1)
    at = OPEN + timedelta(seconds=second)
    return Signal(
        ids.signal_id("s", 1, frame_id, ordinal, 0, "paper"), frame_id, frame_id,
        PositionKey("paper", "default", "s", "NSE:INFY", Product.MIS), INFY, 1, 100, None, None,
        AT_MARKET, at, at, Decimal(1500), "up",
    )  # fmt: skip


def test_a_decision_hangs_under_its_frame() -> None:
    """Root, decision and publishing are one branch, with the frame's true times; the frame is the decision's link as well."""
    decisions = Decisions(0)
    made = signal(3)
    decisions.frame(3, INFY, made)
    decisions.publish(made)
    root, decided, published = decisions.recorded
    assert (root.service, root.name, root.kind) == ("marketdata", "publish market.ticks", Kind.PRODUCER)
    began_ns = nanoseconds(OPEN + timedelta(seconds=3))
    assert (root.parent, root.start_ns, root.end_ns) == (None, began_ns, began_ns + 5_000)
    assert root.attributes[spans.FRAME_ID] == made.correlation_id
    assert root.attributes[spans.TICKS] == 1
    assert (decided.service, decided.kind, decided.parent) == ("strategy", Kind.CONSUMER, root.context)
    assert decided.links == (root.context,)
    assert decided.attributes[spans.SIGNAL_ID] == made.signal_id
    assert decided.attributes[spans.TARGET] == 100
    assert (published.name, published.kind) == ("publish paper.signals.raw", Kind.PRODUCER)
    assert published.parent == decided.context
    assert published.context.traceparent == decisions.spans.traceparent(made)
    assert {one.context.trace_id for one in decisions.recorded} == {ids.trace_id(made.correlation_id)}


def test_a_bar_s_signal_links_to_the_frames_of_its_bar() -> None:
    """Those with ticks of the instrument within the bar, the newest first, and no more than is said; others not."""
    decisions = Decisions()
    frames = [decisions.frame(second, TCS if second % 2 else INFY) for second in range(90)]
    made = signal(90)
    decisions.frame(90, INFY, made)
    decisions.publish(made)
    decided = decisions.recorded[1]
    behind = [frames[second] for second in range(89, 29, -1) if second % 2 == 0]
    expected = [frame_context(frame.frame_id) for frame in behind][: spans.MOST_LINKS - 1]
    assert decided.links == (decided.parent, *expected)


def test_a_short_bar_links_to_all_its_frames() -> None:
    """Of a bar of five seconds each frame is linked, and none of the bar before."""
    decisions = Decisions(5_000_000_000)
    frames = [decisions.frame(second) for second in range(20)]
    made = signal(20)
    decisions.frame(20, INFY, made)
    decisions.publish(made)
    assert decisions.recorded[1].links[1:] == tuple(
        frame_context(frames[second].frame_id) for second in range(19, 14, -1)
    )


def test_frames_without_signals_have_no_spans() -> None:
    """Nothing is recorded for what led to nothing."""
    decisions = Decisions()
    for second in range(1000):
        decisions.frame(second)
    assert decisions.recorded == []


def test_a_frame_with_several_signals_is_one_root() -> None:
    """Its span is recorded once, however many decisions are under it."""
    decisions = Decisions(0)
    made = [signal(1, 0), signal(1, 1)]
    decisions.frame(1, INFY, *made)
    decisions.publish(*made)
    assert [one.name for one in decisions.recorded].count("publish market.ticks") == 1


def test_a_sampled_frame_s_span_is_market_data_s() -> None:
    """A frame whose record says that its span is recorded gets no second one."""
    decisions = Decisions(0)
    made = signal(1)
    decisions.frame(1, INFY, made, traceparent=frame_context(made.correlation_id).traceparent)
    decisions.publish(made)
    assert [one.service for one in decisions.recorded] == ["strategy", "strategy"]


def test_another_partition_s_frame_is_a_root_as_well() -> None:
    """A signal on a frame whose record isn't at hand has a root all the same."""
    decisions = Decisions(0)
    made = signal(1)
    decisions.publish(made)
    root, decided, _ = decisions.recorded
    assert (root.name, decided.parent) == ("publish market.ticks", root.context)


@pytest.mark.parametrize(("seconds", "recorded"), [(60, 3), (3600, 0)])
def test_what_was_just_decided_before_a_restart_is_recorded_again(seconds, recorded) -> None:
    """Signals that come again after a restart say so; those of an hour ago have had their spans."""
    decisions = Decisions(0)
    made = signal(1)
    now_ns = nanoseconds(OPEN) + seconds * 1_000_000_000
    decisions.frame(1, INFY, made, resumed=True, now_ns=now_ns)
    decisions.publish(made)
    assert len(decisions.recorded) == recorded
    assert all(one.attributes.get(spans.RESUMED) for one in decisions.recorded[1:2])
