"""The spans of strategies' decisions, and, recorded afterwards, of the frames that led to them.

A frame that leads to no signal costs an entry in a short list. One that does becomes the root of its signals' trace: its PRODUCER span
is recorded here, in the name of market data, with the times at which it was published and stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from alphapanda.consuming.delivery import Delivery
from alphapanda.contract.topics import TopicMap
from alphapanda.domain import ids
from alphapanda.domain.frame import Frame
from alphapanda.domain.signal import Signal
from alphapanda.eventlog.port import Record
from alphapanda.storage.recovered_spans import FRESH_SECONDS
from alphapanda.telemetry import spans
from alphapanda.telemetry.frame_span import frame_context, record_frame
from alphapanda.telemetry.tracing import Attribute, Kind, SpanContext, Tracer, header_context

RECENT_FRAMES: Final = 256
"""Frames of a partition among which a bar's are found: over four minutes of one a second."""
MOST_KEPT: Final = 4096
"""Most decisions whose signals aren't published yet, and most frames known to be recorded."""

T = TypeVar("T")
_Recent = tuple[int, str, int, int, Sequence[int]]
"""A frame handled lately: market time in nanoseconds, feed run, shard, sequence, and the instruments of its ticks."""

BarLength = Callable[[str], int]
"""Returns the length of a strategy's bars, nanoseconds; 0 where it is on ticks, or its bars are days."""


@dataclass(frozen=True, slots=True)
class _Decision:
    """When a signal was decided, and the frames behind it.

    `resumed`: an earlier owner of the partition may have decided it, and been killed before its spans were sent; `old`: too long ago
    for that.
    """

    began_ns: int
    ended_ns: int
    frames: Sequence[SpanContext]
    resumed: bool = False
    old: bool = False


class DecisionSpans:
    """Records the decisions of a process's strategies.

    Args:
        strategy: strategy's tracer.
        marketdata: market data's tracer.
        topic_map: the deployment's topics.
        bar_length: length of a strategy's bars.
    """

    def __init__(
        self, strategy: Tracer, marketdata: Tracer, topic_map: TopicMap, bar_length: BarLength
    ) -> None:
        self._strategy = strategy
        self._marketdata = marketdata
        (self._topic,) = topic_map.topics("tick_frame")
        self._bar_length = bar_length
        self._recent: dict[int, deque[_Recent]] = {}
        self._decisions: dict[str, _Decision] = {}
        self._roots: dict[str, None] = {}

    @property
    def on(self) -> bool:
        """Whether spans are recorded."""
        return self._strategy.on

    def now(self) -> int:
        """Wall time, nanoseconds since the epoch."""
        return self._strategy.now()

    def decided(
        self, delivery: Delivery, frame: Frame, signals: Sequence[Signal], began_ns: int, *, resumed: bool
    ) -> None:
        """Keeps the frame for the bars to come, and when signals were decided on it.

        Args:
            delivery: the frame's record.
            frame: the frame.
            signals: what was decided.
            began_ns: when the strategies were shown it.
            resumed: whether an earlier owner of the partition may have published them.
        """
        recent = self._recent.get(delivery.record.partition)
        if recent is None:
            recent = self._recent[delivery.record.partition] = deque(maxlen=RECENT_FRAMES)
        if signals:
            old = resumed and began_ns - delivery.record.appended_at_ns > 1_000_000_000 * FRESH_SECONDS
            if not old:
                self._record_root(delivery, frame)
            ended_ns = self.now()
            for signal in signals:
                frames = self._frames_behind(signal, recent)
                _keep(self._decisions, signal.signal_id, _Decision(began_ns, ended_ns, frames, resumed, old))
        recent.append(
            (frame.market_time_ns, frame.feed_run, frame.shard, frame.sequence, frame.instrument_token)
        )

    def traceparent(self, signal: Signal) -> str:
        """The context that a signal's record carries; empty where nothing is recorded."""
        trace_id = ids.trace_id(signal.correlation_id) if self.on else ""
        return SpanContext(trace_id, spans.published(signal.signal_id)).traceparent if trace_id else ""

    def published(self, signals: Sequence[Signal], records: Sequence[Record], began_ns: int) -> None:
        """Records signals that the log has acknowledged: the decisions, and below them their publishing."""
        for signal, record in zip(signals, records, strict=True):
            self._record_signal(signal, record, began_ns)

    def _record_signal(self, signal: Signal, record: Record, began_ns: int) -> None:
        trace_id = ids.trace_id(signal.correlation_id)
        frame = SpanContext(trace_id, spans.published(signal.correlation_id))
        decision = self._decisions.pop(signal.signal_id, None) or _Decision(began_ns, began_ns, ())
        if decision.old:
            return
        if signal.correlation_id not in self._roots:  # of another partition, whose record isn't at hand
            self._record_foreign_root(signal, decision.began_ns)
        own = SpanContext(trace_id, spans.decided(signal.signal_id))
        about = _subject(signal)
        system = self._strategy.messaging_system
        self._strategy.record(
            f"{spans.PROCESS} {self._topic}",
            Kind.CONSUMER,
            own,
            frame,
            decision.began_ns,
            {
                spans.MESSAGING_SYSTEM: system,
                spans.MESSAGING_DESTINATION: self._topic,
                spans.MESSAGING_OPERATION_NAME: spans.PROCESS,
                spans.MESSAGING_OPERATION_TYPE: "process",
                spans.MESSAGING_GROUP: "strategy",
                spans.MESSAGING_MESSAGE_ID: signal.causation_id,
                spans.MESSAGING_CONVERSATION_ID: signal.correlation_id,
                **about,
                **({spans.RESUMED: True} if decision.resumed else {}),
            },
            end_ns=decision.ended_ns,
            links=(frame, *decision.frames),
        )
        self._strategy.record(
            f"{spans.PUBLISH} {record.topic}",
            Kind.PRODUCER,
            SpanContext(trace_id, spans.published(signal.signal_id)),
            own,
            began_ns,
            {
                spans.MESSAGING_SYSTEM: system,
                spans.MESSAGING_DESTINATION: record.topic,
                spans.MESSAGING_PARTITION: str(record.partition),
                spans.MESSAGING_OPERATION_NAME: spans.PUBLISH,
                spans.MESSAGING_OPERATION_TYPE: "send",
                spans.MESSAGING_MESSAGE_ID: signal.signal_id,
                spans.MESSAGING_CONVERSATION_ID: signal.correlation_id,
                spans.MESSAGING_KEY: record.key.decode(errors="replace"),
                **about,
            },
        )

    def _frames_behind(self, signal: Signal, recent: Sequence[_Recent]) -> Sequence[SpanContext]:
        """The other frames with ticks of the signal's bar, the newest first."""
        length = self._bar_length(signal.key.strategy_id)
        if not length:
            return ()
        since = int(signal.market_time.timestamp()) * 1_000_000_000 - length
        found: list[SpanContext] = []
        for market_time_ns, feed_run, shard, sequence, tokens in reversed(recent):
            if market_time_ns < since or len(found) == spans.MOST_LINKS - 1:
                break
            if signal.instrument_token in tokens:
                found.append(frame_context(ids.frame_id(feed_run, shard, sequence)))
        return found

    def _record_root(self, delivery: Delivery, frame: Frame) -> None:
        event, record = delivery.event, delivery.record
        if event.event_id not in self._roots:
            _keep(self._roots, event.event_id, None)
            if header_context(record.headers) is not None:  # market data has recorded it
                return
            begins = event.occurred_at.ToNanoseconds()
            record_frame(
                self._marketdata,
                record.topic,
                record.partition,
                event.event_id,
                len(frame.instrument_token),
                begins,
                max(record.appended_at_ns, begins),
            )

    def _record_foreign_root(self, signal: Signal, at_ns: int) -> None:
        _keep(self._roots, signal.correlation_id, None)
        record_frame(self._marketdata, self._topic, None, signal.correlation_id, 0, at_ns, at_ns)


def _subject(signal: Signal) -> dict[str, Attribute]:
    key = signal.key
    about: dict[str, Attribute] = {
        spans.SIGNAL_ID: signal.signal_id,
        spans.BROKER: key.broker,
        spans.ACCOUNT: key.account,
        spans.STRATEGY_ID: key.strategy_id,
        spans.INSTRUMENT_ID: key.instrument_id,
    }
    if signal.target is not None:
        about[spans.TARGET] = signal.target
    if signal.reason:
        about[spans.REASON] = signal.reason
    return about


def _keep(where: dict[str, T], key: str, value: T) -> None:
    if len(where) >= MOST_KEPT:
        where.pop(next(iter(where)))
    where[key] = value
