"""The page of a trace: a line for each span in the tree's order, whatever the trace holds; nothing is fetched or run."""

from __future__ import annotations

import re
from typing import Any

from trace_answer import TracedSpan, spans_of
from waterfall import page, tree

TRACE = "6f1d2c3b000050008000000000000001"
OTHER = "6f1d2c3b000050008000000000000002"
BEGAN = 1_700_000_000_000_000


def span(number: int, began: int, took: int, parent: int | None = None, **more: Any) -> TracedSpan:
    """A span that begins `began` microseconds after the trace."""
    given = {"name": f"span {number}", "service": "risk", "kind": "internal", "attributes": {}} | more
    above = f"{parent:016x}" if parent else ""
    return TracedSpan(
        TRACE, f"{number:016x}", above, began=BEGAN + began, ended=BEGAN + began + took, **given
    )


def trace(*spans: TracedSpan) -> tuple[TracedSpan, ...]:
    return spans


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


def test_links_are_shown() -> None:
    """A link names its span, and its trace where that is another one."""
    made = page(trace(span(1, 0, 9), span(2, 1, 1, 1, links=[(TRACE, f"{1:016x}"), (OTHER, "ab")])))
    assert f"<td>link</td><td>span {1:016x}</td>" in made
    assert f"span ab of trace {OTHER}" in made


def test_an_answer_of_jaeger_is_read() -> None:
    """Parent, links, kind, times, attributes and a failure of OTLP's JSON; a span that came twice is one."""
    told = {
        "traceId": TRACE,
        "spanId": "ab",
        "parentSpanId": "cd",
        "name": "process",
        "kind": 5,
        "startTimeUnixNano": "1700000000000001000",
        "endTimeUnixNano": "1700000000000005000",
        "attributes": [
            {"key": "text", "value": {"stringValue": "x"}},
            {"key": "number", "value": {"intValue": "7"}},
            {"key": "truth", "value": {"boolValue": True}},
        ],
        "links": [{"traceId": TRACE, "spanId": "cd"}],
        "status": {"code": 2, "message": "no"},
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "risk"}}]}
    answer = {"result": {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [told, told]}]}]}}
    (read,) = spans_of(answer)
    assert (read.parent, read.links, read.kind, read.service) == ("cd", [(TRACE, "cd")], "consumer", "risk")
    assert (read.began, read.ended) == (BEGAN + 1, BEGAN + 5)
    assert read.attributes == {"text": "x", "number": 7, "truth": True}
    assert read.error == "no"


def test_whatever_a_span_says_is_text() -> None:
    """Names and attributes are escaped, and the page allows no script and no request."""
    hostile = "<script>alert('x')</script><img src=//a>"
    made = page(trace(span(1, 0, 9, name=hostile, attributes={hostile: hostile})), hostile)
    assert "<script" not in made
    assert "<img" not in made
    assert "default-src 'none'" in made


def test_a_failed_span_stands_out() -> None:
    """A span with an error has its bar marked."""
    made = page(trace(span(1, 0, 9), span(2, 1, 3, 1, error="no price")))
    assert made.count('class="bar failed"') == 1
    assert "<td>error</td><td>no price</td>" in made
