"""The page of a trace: a line for each span in the tree's order, whatever the trace holds; nothing is fetched or run."""

from __future__ import annotations

import re
from typing import Any

from waterfall import links_of, page, parent_of, tree

TRACE = "6f1d2c3b000050008000000000000001"
OTHER = "6f1d2c3b000050008000000000000002"


def span(number: int, began: int, took: int, parent: int | None = None, **more: Any) -> dict[str, Any]:
    """A span as Jaeger answers it, times in microseconds."""
    references = [{"refType": "CHILD_OF", "traceID": TRACE, "spanID": f"{parent:016x}"}] if parent else []
    return {
        "traceID": TRACE,
        "spanID": f"{number:016x}",
        "operationName": more.get("name", f"span {number}"),
        "references": references + more.get("references", []),
        "startTime": 1_700_000_000_000_000 + began,
        "duration": took,
        "processID": more.get("process", "p1"),
        "tags": [{"key": key, "value": value} for key, value in more.get("tags", {}).items()],
    }


def trace(*spans: dict[str, Any]) -> dict[str, Any]:
    processes = {"p1": {"serviceName": "risk"}, "p2": {"serviceName": "trading"}}
    return {"traceID": TRACE, "spans": list(spans), "processes": processes}


def names(made: str) -> list[str]:
    return re.findall(r'class="name"[^>]*>([^<]*) <small>', made)


def test_lines_stand_in_the_trees_order() -> None:
    """Children come under their parent by time, whatever the order of the answer."""
    made = page(trace(span(4, 30, 5, 2), span(2, 10, 40, 1), span(3, 60, 5, 1), span(1, 0, 100)))
    assert names(made) == ["span 1", "span 2", "span 4", "span 3"]
    depths = [float(one) for one in re.findall(r'class="name" style="padding-left:([\d.]+)em"', made)]
    assert depths == [0, 1.2, 2.4, 1.2]


def test_bars_lie_where_their_times_are() -> None:
    """A bar's left edge and width are its share of the whole trace; a span without length can be seen."""
    made = page(trace(span(1, 0, 200), span(2, 50, 100, 1), span(3, 200, 0, 1)))
    bars = re.findall(r'class="bar" style="left:([\d.]+)%;width:([\d.]+)%"', made)
    assert [(float(left), float(width)) for left, width in bars] == [(0, 100), (25, 50), (100, 0.3)]


def test_a_missing_parent_is_said() -> None:
    """A span whose parent the trace doesn't have is shown as a root, and its line says so."""
    assert [one.missing for one in tree(trace(span(1, 0, 9), span(2, 1, 1, 7)))] == ["", f"{7:016x}"]
    assert "parent is missing" in page(trace(span(2, 1, 1, 7)))


def test_a_link_is_no_parent() -> None:
    """References to other traces, and those that follow from a span, are links."""
    link = {"refType": "FOLLOWS_FROM", "traceID": OTHER, "spanID": "ab"}
    elsewhere = {"refType": "CHILD_OF", "traceID": OTHER, "spanID": "cd"}
    linked = span(2, 1, 1, 1, references=[link, elsewhere])
    assert parent_of(linked) == f"{1:016x}"
    assert links_of(linked) == [(OTHER, "ab")]
    assert f"span ab of trace {OTHER}" in page(trace(span(1, 0, 9), linked))


def test_whatever_a_span_says_is_text() -> None:
    """Names and attributes are escaped, and the page allows no script and no request."""
    hostile = "<script>alert('x')</script><img src=//a>"
    made = page(trace(span(1, 0, 9, name=hostile, tags={hostile: hostile})), hostile)
    assert "<script" not in made
    assert "<img" not in made
    assert "default-src 'none'" in made


def test_a_failed_span_stands_out() -> None:
    """A span with an error has its bar marked."""
    assert page(trace(span(1, 0, 9), span(2, 1, 3, 1, tags={"error": True}))).count('class="bar failed"') == 1
    assert page(trace(span(1, 0, 9, tags={"otel.status_code": "ERROR"}))).count('class="bar failed"') == 1
