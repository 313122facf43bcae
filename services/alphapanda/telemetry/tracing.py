"""Records spans: their contexts, how a context travels, and what a service records them with.

A span is recorded once, when it has ended, as a plain value: nothing is kept open, nothing is allocated for what isn't recorded, and
no library is loaded where tracing is off. Times are wall time in nanoseconds. `span_export.py` sends the spans by OTLP.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from re import compile as pattern
from secrets import token_hex
from typing import Final, NamedTuple

from msgspec import Struct

from alphapanda.domain import ids

TRACEPARENT: Final = "traceparent"
"""Name of the header, and of the key in a call's metadata, that carries a span's context (W3C Trace Context)."""

Attribute = str | int | float | bool
Attributes = Mapping[str, Attribute]

_TRACEPARENT: Final = pattern(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_NO_SPAN: Final = 16 * "0"
_LOW_BITS: Final = 8
"""Hex digits at the end of a trace id that decide whether it is sampled."""
MOST_NOTES: Final = 10_000
"""Most notes about records that a service keeps; then the oldest is dropped."""


class Kind(Enum):
    """What a span is to others, as OpenTelemetry has it."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"


class SpanContext(NamedTuple):
    """Which span: 32 and 16 lower-case hex digits."""

    trace_id: str
    span_id: str

    @property
    def traceparent(self) -> str:
        """The W3C text of a recorded span's context."""
        return f"00-{self.trace_id}-{self.span_id}-01"


class Span(Struct, frozen=True, gc=False):
    """A span that has ended.

    Attributes:
        service: the service that recorded it.
        name: what happened, in few different words.
        kind: what it is to others.
        context: its own context.
        parent: the span it belongs under; None for a root.
        start_ns: wall time, nanoseconds since the epoch.
        end_ns: the same, not before `start_ns`.
        attributes: by name (telemetry.spans).
        links: spans that it has to do with, of any trace.
        error: what failed, in one line; empty: nothing did.
    """

    service: str
    name: str
    kind: Kind
    context: SpanContext
    parent: SpanContext | None
    start_ns: int
    end_ns: int
    attributes: Attributes
    links: Sequence[SpanContext] = ()
    error: str = ""


@dataclass(slots=True)
class CurrentSpan:
    """The span of the call being served. What is done in it adds attributes, and may give it an id that is known beforehand.

    Attributes:
        trace_id: 32 hex digits.
        span_id: 16 hex digits.
        attributes: added to the span when it ends.
        ended: whether it has been recorded; then nothing changes it.
    """

    trace_id: str
    span_id: str
    attributes: dict[str, Attribute] = field(default_factory=dict)
    ended: bool = False

    @property
    def context(self) -> SpanContext:
        """The span's context."""
        return SpanContext(self.trace_id, self.span_id)


current_span: ContextVar[CurrentSpan | None] = ContextVar("current_span", default=None)
"""The span under which this task works; None outside of recorded calls."""

Sink = Callable[[Span], None]
"""Takes a span; never waits and never raises."""


def parse_traceparent(text: str) -> tuple[SpanContext, bool] | None:
    """Reads a traceparent: the span's context, and whether it is recorded; None where the text is none."""
    found = _TRACEPARENT.fullmatch(text)
    if found is None or not ids.correlation_id(found[1]) or found[2] == _NO_SPAN:
        return None
    return SpanContext(found[1], found[2]), bool(int(found[3], 16) & 1)


def header_context(headers: Sequence[tuple[str, bytes]]) -> SpanContext | None:
    """The context of the recorded span that a record's headers name; None where there is none."""
    for name, value in headers:
        if name == TRACEPARENT:
            found = parse_traceparent(value.decode("ascii", "replace"))
            return found[0] if found is not None and found[1] else None
    return None


def new_span_id() -> str:
    """A random span id."""
    made = token_hex(8)
    return made if made != _NO_SPAN else new_span_id()


class Tracer:
    """Records one service's spans. Where tracing is off, `on` is false and every method does nothing.

    Args:
        service: the service's name.
        sink: takes the spans; None: tracing is off.
        messaging_system: the log that events travel on, "kafka" or "sqlite".
        market_data_ratio: share of frames whose publishing is recorded although it led to no signal, 0 to 1.
        query_ratio: share of queries that are recorded although they succeeded, 0 to 1.

    Attributes:
        on: whether spans are recorded.
    """

    __slots__ = (
        "_market_data_below",
        "_notes",
        "_query_below",
        "_sink",
        "messaging_system",
        "on",
        "service",
    )

    def __init__(
        self,
        service: str,
        sink: Sink | None,
        messaging_system: str = "",
        *,
        market_data_ratio: float = 0.0,
        query_ratio: float = 0.0,
    ) -> None:
        self.service = service
        self.on = sink is not None
        self.messaging_system = messaging_system
        self._sink = sink
        self._notes: dict[str, tuple[str, Attributes]] = {}
        self._market_data_below = int(market_data_ratio * 16**_LOW_BITS)
        self._query_below = int(query_ratio * 16**_LOW_BITS)

    @staticmethod
    def now() -> int:
        """Wall time, nanoseconds since the epoch."""
        return time.time_ns()

    def began(self) -> int:
        """The time at which something begins; 0 where tracing is off."""
        return time.time_ns() if self.on else 0

    def record(
        self,
        name: str,
        kind: Kind,
        context: SpanContext,
        parent: SpanContext | None,
        start_ns: int,
        attributes: Attributes,
        *,
        end_ns: int = 0,
        links: Sequence[SpanContext] = (),
        error: str = "",
    ) -> None:
        """Records a span that has ended, at `end_ns` or now; nothing where its trace id is empty."""
        if self._sink is not None and context.trace_id:
            end = max(end_ns or time.time_ns(), start_ns)
            self._sink(
                Span(self.service, name, kind, context, parent, start_ns, end, attributes, links, error)
            )

    def samples_frame(self, frame_id: str) -> bool:
        """Whether the publishing of this frame is recorded in any case."""
        return self.on and _low(frame_id) < self._market_data_below

    def samples_query(self, correlation_id: str) -> bool:
        """Whether a query of this correlation id is recorded although it succeeds."""
        return self.on and _low(correlation_id) < self._query_below

    # -- notes: what a handler has found out about a record, for the span of its handling ------------------------------

    def note(self, event_id: str, span_id: str, attributes: Attributes) -> None:
        """Keeps what was decided on a record: the id and the attributes of the span that its consumer records."""
        if self.on:
            if len(self._notes) >= MOST_NOTES:
                self._notes.pop(next(iter(self._notes)), None)
            self._notes[event_id] = span_id, attributes

    def noted(self, event_id: str) -> tuple[str, Attributes] | None:
        """Takes what was noted on a record; None where nothing was: it had been handled before."""
        return self._notes.pop(event_id, None)


OFF: Final = Tracer("", None)
"""Records nothing."""


def _low(uuid: str) -> int:
    try:
        return int(uuid[-_LOW_BITS:], 16)
    except ValueError:
        return 16**_LOW_BITS
