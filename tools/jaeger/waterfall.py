"""A trace from Jaeger's API as one HTML page: a waterfall of its spans. No script, no network, light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any

HUES = (210, 150, 30, 280, 0, 180, 60, 320)
LEAST_WIDTH = 0.3
"""Percent of the page that the shortest bar takes."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #8889; }
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
h1 { font-size: 1.2rem; margin: 0; } h1 code { font-size: 1rem; }
p { margin: .3rem 0 1rem; color: GrayText; }
.legend span, .name::before { --c: hsl(var(--h) 55% 50%); }
.legend span { margin-right: 1.2rem; } .legend span::before, .name::before {
  content: ""; display: inline-block; width: .7em; height: .7em; border-radius: 2px; background: var(--c); margin-right: .5em; }
.scale, summary { display: grid; grid-template-columns: minmax(18rem, 38%) 1fr; align-items: center; }
.scale { color: GrayText; border-bottom: 1px solid var(--line); } .scale div { display: flex; justify-content: space-between; }
details { border-bottom: 1px solid var(--line); } summary { cursor: pointer; list-style: none; padding: .15rem 0; }
summary:hover { background: #8881; } .name { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.name small { color: GrayText; } .track { position: relative; height: 1.5em; }
.bar { position: absolute; top: .25em; height: 1em; min-width: 2px; border-radius: 2px; background: hsl(var(--h) 55% 50%); }
.bar.failed { outline: 2px solid #d33; } .took { position: absolute; top: 0; padding: 0 .4em; white-space: nowrap; font-size: .85em; }
table { border-collapse: collapse; margin: .3rem 0 .8rem 1.5rem; font-size: .9em; } td { padding: .05rem 1rem .05rem 0; vertical-align: top; }
td:first-child { color: GrayText; } td { overflow-wrap: anywhere; }
"""


@dataclass(slots=True)
class Bar:
    """A span in the tree.

    Attributes:
        span: as Jaeger answers it: times in microseconds.
        service: who recorded it.
        missing: id of its parent where the trace doesn't have that span; else empty.
        below: spans whose parent it is.
    """

    span: Mapping[str, Any]
    service: str
    missing: str = ""
    below: list[Bar] = field(default_factory=list)

    @property
    def began(self) -> int:
        """Microseconds since the epoch."""
        return int(self.span["startTime"])

    @property
    def ended(self) -> int:
        """Microseconds since the epoch."""
        return self.began + int(self.span["duration"])


def parent_of(span: Mapping[str, Any]) -> str:
    """Id of a span's parent; empty for a root. Links are references of another type, or to another trace."""
    of_trace = [one for one in span.get("references", ()) if one["traceID"] == span["traceID"]]
    return next((str(one["spanID"]) for one in of_trace if one["refType"] == "CHILD_OF"), "")


def links_of(span: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(trace id, span id) of each span that a span links to."""
    return [
        (str(one["traceID"]), str(one["spanID"]))
        for one in span.get("references", ())
        if one["refType"] == "FOLLOWS_FROM"
    ]


def tree(trace: Mapping[str, Any]) -> list[Bar]:
    """The roots of a trace: spans without a parent, and those whose parent is missing. Each level by time."""
    services = {key: str(process["serviceName"]) for key, process in trace["processes"].items()}
    bars = {span["spanID"]: Bar(span, services[span["processID"]]) for span in trace["spans"]}
    roots = []
    for bar in sorted(bars.values(), key=lambda one: (one.began, -one.ended)):
        parent = parent_of(bar.span)
        if parent in bars:
            bars[parent].below.append(bar)
        else:
            bar.missing = parent
            roots.append(bar)
    return roots


def page(trace: Mapping[str, Any], heading: str = "") -> str:
    """The page of a trace, one self-contained HTML document.

    Args:
        trace: an element of `data` of Jaeger's `GET /api/traces/ID`.
        heading: a sentence below the title.
    """
    lines = list(_flat(tree(trace)))
    began, ended = min(bar.began for bar, _ in lines), max(bar.ended for bar, _ in lines)
    hues = {
        name: HUES[n % len(HUES)] for n, name in enumerate(dict.fromkeys(bar.service for bar, _ in lines))
    }
    legend = "".join(f'<span style="--h:{hue}">{escape(name)}</span>' for name, hue in hues.items())
    at = datetime.fromtimestamp(began / 1e6, UTC)
    took = _time(ended - began)
    marks = "".join(f"<span>{_time(n * (ended - began) // 4)}</span>" for n in range(5))
    rows = "".join(_row(bar, depth, began, max(ended - began, 1), hues[bar.service]) for bar, depth in lines)
    trace_id = escape(str(trace["traceID"]))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Trace {trace_id}</title><style>{STYLE}</style></head><body>
<h1>Trace <code>{trace_id}</code></h1>
<p>{escape(heading)} {len(lines)} spans of {len(hues)} services, {took}, from {at:%d %b %Y %H:%M:%S.%f} UTC. A line opens.</p>
<p class="legend">{legend}</p>
<div class="scale"><span></span><div>{marks}</div></div>
{rows}
</body></html>
"""


def _flat(bars: Sequence[Bar], depth: int = 0) -> Iterator[tuple[Bar, int]]:
    for bar in bars:
        yield bar, depth
        yield from _flat(bar.below, depth + 1)


def _row(bar: Bar, depth: int, began: int, whole: int, hue: int) -> str:
    left = 100 * (bar.began - began) / whole
    width = max(100 * (bar.ended - bar.began) / whole, LEAST_WIDTH)
    tags = {str(tag["key"]): str(tag["value"]) for tag in bar.span.get("tags", ())}
    failed = " failed" if tags.get("error") == "True" or tags.get("otel.status_code") == "ERROR" else ""
    # The time stands where there is room for it.
    beside = f"left:{left + width:.3f}%" if left + width < 80 else f"right:{100 - left:.3f}%"  # noqa: PLR2004 - percent
    name = escape(str(bar.span["operationName"]))
    return (
        f'<details style="--h:{hue}"><summary><span class="name" style="padding-left:{depth * 1.2:g}em">{name}'
        f" <small>{escape(bar.service)}</small></span>"
        f'<span class="track"><span class="bar{failed}" style="left:{left:.3f}%;width:{width:.3f}%"></span>'
        f'<span class="took" style="{beside}">{_time(bar.ended - bar.began)}</span></span></summary>'
        f"<table>{''.join(_cells(bar, began, tags))}</table></details>\n"
    )


def _cells(bar: Bar, began: int, tags: Mapping[str, str]) -> Iterator[str]:
    facts = [("starts after", _time(bar.began - began)), ("span id", str(bar.span["spanID"]))]
    if bar.missing:
        facts.append(("parent is missing", bar.missing))
    facts += [("link", f"span {span} of trace {trace}") for trace, span in links_of(bar.span)]
    for name, value in (*facts, *sorted(tags.items())):
        yield f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"


def _time(microseconds: float) -> str:
    if microseconds < 1_000:  # noqa: PLR2004 - a millisecond
        return f"{microseconds:.0f} µs"
    if microseconds < 1_000_000:  # noqa: PLR2004 - a second
        return f"{microseconds / 1_000:.1f} ms"
    return f"{microseconds / 1_000_000:.2f} s"
