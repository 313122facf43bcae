"""A trace as Jaeger's API answers it (`GET /api/v3/traces/ID`: OTLP as JSON), as plain spans.

The older `GET /api/traces/ID` can't tell a span's parent from a link to it: of both it keeps the link.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

KINDS: Final = ("", "internal", "server", "client", "producer", "consumer")
ERROR: Final = 2
"""Status code of a span that failed."""


@dataclass(frozen=True)
class TracedSpan:
    """A span.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        parent: id of its parent; empty for a root.
        name: what happened.
        service: who recorded it.
        kind: internal, server, client, producer or consumer.
        began: microseconds since the epoch.
        ended: the same, not before `began`.
        attributes: by name.
        links: (trace id, span id) of each span that it links to.
        error: what failed; empty where nothing did.
    """

    trace_id: str
    span_id: str
    parent: str
    name: str
    service: str
    kind: str
    began: int
    ended: int
    attributes: Mapping[str, Any]
    links: Sequence[tuple[str, str]] = ()
    error: str = ""


def spans_of(answer: Mapping[str, Any]) -> list[TracedSpan]:
    """The spans of an answer, by time; one that was recorded twice under its id is one span, the first."""
    found: dict[str, TracedSpan] = {}
    for span in sorted(_spans(answer), key=lambda one: (one.began, -one.ended)):
        found.setdefault(span.span_id, span)
    return list(found.values())


def _spans(answer: Mapping[str, Any]) -> Iterator[TracedSpan]:
    for resource in answer["result"]["resourceSpans"]:
        service = str(_attributes(resource["resource"]).get("service.name", ""))
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                status = span.get("status", {})
                yield TracedSpan(
                    trace_id=span["traceId"],
                    span_id=span["spanId"],
                    parent=span.get("parentSpanId", ""),
                    name=span["name"],
                    service=service,
                    kind=KINDS[span.get("kind", 0)],
                    began=int(span["startTimeUnixNano"]) // 1_000,
                    ended=int(span["endTimeUnixNano"]) // 1_000,
                    attributes=_attributes(span),
                    links=[(one["traceId"], one["spanId"]) for one in span.get("links", ())],
                    error=(status.get("message") or "failed") if status.get("code") == ERROR else "",
                )


def _attributes(owner: Mapping[str, Any]) -> dict[str, Any]:
    return {one["key"]: _value(one["value"]) for one in owner.get("attributes", ())}


def _value(value: Mapping[str, Any]) -> Any:
    if "intValue" in value:  # JSON has no integers of 64 bits
        return int(value["intValue"])
    return next(iter(value.values()), "")
