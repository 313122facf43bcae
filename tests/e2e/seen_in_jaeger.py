"""What a test asks of a trace in Jaeger: spans by name and service, what is above them, what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trace_answer import TracedSpan


@dataclass(frozen=True)
class SeenTrace:
    """A trace; its spans by time."""

    spans: list[TracedSpan]

    def named(self, name: str, service: str = "") -> list[TracedSpan]:
        """Spans of a name, of one service or of any."""
        return [one for one in self.spans if one.name == name and service in ("", one.service)]

    def one(self, name: str, service: str = "") -> TracedSpan:
        """The first span of a name and service."""
        found = self.named(name, service)
        assert found, f"no {name!r} of {service!r} in:\n{self.told()}"
        return found[0]

    def above(self, span: TracedSpan) -> list[str]:
        """The span and all above it, each as "service: name", the root last."""
        line = [f"{span.service}: {span.name}"]
        while (parent := next((one for one in self.spans if one.span_id == span.parent), None)) is not None:
            line.append(f"{parent.service}: {parent.name}")
            span = parent
        return line

    def roots(self) -> list[TracedSpan]:
        """Spans without a parent."""
        return [one for one in self.spans if not one.parent]

    def orphans(self) -> list[TracedSpan]:
        """Spans whose parent is missing."""
        known = {one.span_id for one in self.spans}
        return [one for one in self.spans if one.parent and one.parent not in known]

    def values(self, attribute: str) -> set[Any]:
        """The values of an attribute, of the spans that have it."""
        return {one.attributes[attribute] for one in self.spans if attribute in one.attributes}

    def told(self) -> str:
        """All spans, for a message."""
        return "\n".join(
            f"{one.began} {one.service:10} {one.name:34} {one.span_id} under {one.parent or '-':16} {dict(one.attributes)}"
            for one in self.spans
        )
