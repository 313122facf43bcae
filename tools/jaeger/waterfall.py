"""A trace from Jaeger's API as one HTML page: a waterfall of its spans. No script, no network, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape

from trace_answer import TracedSpan

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
        span: the span.
        missing: id of its parent where the trace doesn't have that span; else empty.
        below: spans whose parent it is.
    """

    span: TracedSpan
    missing: str = ""
    below: list[Bar] = field(default_factory=list)


def tree(spans: Iterable[TracedSpan]) -> list[Bar]:
    """The roots of a trace: spans without a parent, and those whose parent is missing. Each level by time."""
    bars = {span.span_id: Bar(span) for span in sorted(spans, key=lambda one: (one.began, -one.ended))}
    roots = []
    for bar in bars.values():
        if bar.span.parent in bars:
            bars[bar.span.parent].below.append(bar)
        else:
            bar.missing = bar.span.parent
            roots.append(bar)
    return roots


def page(spans: Sequence[TracedSpan], heading: str = "") -> str:
    """The page of a trace, one self-contained HTML document.

    Args:
        spans: the trace's spans, at least one.
        heading: a sentence below the title.
    """
    lines = list(_flat(tree(spans)))
    began, ended = min(one.began for one in spans), max(one.ended for one in spans)
    services = dict.fromkeys(bar.span.service for bar, _ in lines)
    hues = {name: HUES[n % len(HUES)] for n, name in enumerate(services)}
    legend = "".join(f'<span style="--h:{hue}">{escape(name)}</span>' for name, hue in hues.items())
    at = datetime.fromtimestamp(began / 1e6, UTC)
    took = _time(ended - began)
    marks = "".join(f"<span>{_time(n * (ended - began) // 4)}</span>" for n in range(5))
    rows = "".join(
        _row(bar, depth, began, max(ended - began, 1), hues[bar.span.service]) for bar, depth in lines
    )
    trace_id = escape(spans[0].trace_id)
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
    span = bar.span
    left = 100 * (span.began - began) / whole
    width = max(100 * (span.ended - span.began) / whole, LEAST_WIDTH)
    failed = " failed" if span.error else ""
    # The time stands where there is room for it.
    beside = f"left:{left + width:.3f}%" if left + width < 80 else f"right:{100 - left:.3f}%"  # noqa: PLR2004 - percent
    return (
        f'<details style="--h:{hue}"><summary><span class="name" style="padding-left:{depth * 1.2:g}em">{escape(span.name)}'
        f" <small>{escape(span.service)}</small></span>"
        f'<span class="track"><span class="bar{failed}" style="left:{left:.3f}%;width:{width:.3f}%"></span>'
        f'<span class="took" style="{beside}">{_time(span.ended - span.began)}</span></span></summary>'
        f"<table>{''.join(_cells(bar, began))}</table></details>\n"
    )


def _cells(bar: Bar, began: int) -> Iterator[str]:
    span = bar.span
    facts = [("starts after", _time(span.began - began)), ("kind", span.kind), ("span id", span.span_id)]
    if bar.missing:
        facts.append(("parent is missing", bar.missing))
    if span.error:
        facts.append(("error", span.error))
    for trace_id, span_id in span.links:
        facts.append(
            ("link", f"span {span_id}" + (f" of trace {trace_id}" if trace_id != span.trace_id else ""))
        )
    for name, value in (*facts, *sorted(span.attributes.items())):
        yield f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>"


def _time(microseconds: float) -> str:
    if microseconds < 1_000:  # noqa: PLR2004 - a millisecond
        return f"{microseconds:.0f} µs"
    if microseconds < 1_000_000:  # noqa: PLR2004 - a second
        return f"{microseconds / 1_000:.1f} ms"
    return f"{microseconds / 1_000_000:.2f} s"
