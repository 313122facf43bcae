"""What a test asks of a trace as Jaeger answers it: spans by name and service, parents, links, attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from waterfall import links_of, parent_of


@dataclass(frozen=True)
class SeenSpan:
    """A span; times in microseconds since the epoch."""

    trace_id: str
    span_id: str
    name: str
    service: str
    parent: str
    links: frozenset[tuple[str, str]]
    attributes: Mapping[str, Any]
    began: int
    ended: int

    @property
    def kind(self) -> str:
        """producer, consumer, server, client or internal."""
        return str(self.attributes.get("span.kind", "internal"))


@dataclass(frozen=True)
class SeenTrace:
    """A trace."""

    trace_id: str
    spans: tuple[SeenSpan, ...]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> SeenTrace:
        """From an element of `data` of `GET /api/traces`."""
        return cls(str(answer["traceID"]), tuple(_spans(answer)))

    def named(self, name: str, service: str = "") -> list[SeenSpan]:
        """Spans of a name, of one service or of any, in the order of their beginning."""
        found = [one for one in self.spans if one.name == name and service in ("", one.service)]
        return sorted(found, key=lambda one: one.began)

    def one(self, name: str, service: str = "", **attributes: Any) -> SeenSpan:
        """The first span of a name and service with these attributes, whose names have "_" for the dots."""
        for span in self.named(name, service):
            given = {key.replace(".", "_"): value for key, value in span.attributes.items()}
            if all(given.get(key) == value for key, value in attributes.items()):
                return span
        raise AssertionError(f"no {name!r} of {service!r} with {attributes} in:\n{self.told()}")

    def parent_of(self, span: SeenSpan) -> SeenSpan | None:
        """A span's parent; None for a root."""
        return next((one for one in self.spans if one.span_id == span.parent), None)

    def above(self, span: SeenSpan) -> list[str]:
        """The span and all above it, each as "service: name", the root last."""
        line, at = [], span
        while True:
            line.append(f"{at.service}: {at.name}")
            parent = self.parent_of(at)
            if parent is None:
                return line
            at = parent

    def roots(self) -> list[SeenSpan]:
        """Spans without a parent."""
        return [one for one in self.spans if not one.parent]

    def orphans(self) -> list[SeenSpan]:
        """Spans whose parent is missing."""
        known = {one.span_id for one in self.spans}
        return [one for one in self.spans if one.parent and one.parent not in known]

    def told(self) -> str:
        """All spans, for a message."""
        lines = (
            f"{one.began} {one.service:10} {one.name:34} {one.span_id} under {one.parent or '-':16} {dict(one.attributes)}"
            for one in sorted(self.spans, key=lambda one: one.began)
        )
        return "\n".join(lines)


def _spans(answer: Mapping[str, Any]) -> Iterator[SeenSpan]:
    for span in answer["spans"]:
        yield SeenSpan(
            trace_id=str(span["traceID"]),
            span_id=str(span["spanID"]),
            name=str(span["operationName"]),
            service=str(answer["processes"][span["processID"]]["serviceName"]),
            parent=parent_of(span),
            links=frozenset(links_of(span)),
            attributes={tag["key"]: tag["value"] for tag in span["tags"]},
            began=int(span["startTime"]),
            ended=int(span["startTime"]) + int(span["duration"]),
        )
