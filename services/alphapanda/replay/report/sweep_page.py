"""The report of a sweep: heat maps, the ranked sets, their curves, and what came out of sample."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any, Final

from alphapanda.replay.performance import DEFINITIONS
from alphapanda.replay.report import sections
from alphapanda.replay.report.page import html_page
from alphapanda.replay.report.payload import paise
from alphapanda.replay.report.writing import Writer, day_text, percent, row, table, tone
from alphapanda.replay.sweep.heat import HeatMap, heat_maps, strength
from alphapanda.replay.sweep.ranking import COLUMNS, FALLS, SetResult
from alphapanda.replay.sweep.trial import OutOfSample
from alphapanda.replay.trading_days import DayEnd

SHOWN_CURVES: Final = 8
MOST_ROWS: Final = 1_000
TRIAL_FIGURES: Final = (
    *("net_pnl", "total_return", "sharpe", "max_drawdown_at_days_ends", "round_trips", "win_rate", "profit_factor"),
    "charges",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep's report shows.

    Attributes:
        title: such as "52 sets of ema_cross on NSE:INFY".
        about: lines of a name and a value on what was run.
        assumptions: lines of a name and a value on what the figures rest on.
        ranking: the sets, the best first.
        measure: what they are ranked by.
        tried: what came out of sample; None if no walk-forward test was asked for.
        indian: whether numbers are written as in India.
    """

    title: str
    about: Sequence[tuple[str, str]]
    assumptions: Sequence[tuple[str, str]]
    ranking: Sequence[SetResult]
    measure: str
    tried: OutOfSample | None
    indian: bool = True


def sweep_html(report: SweepReport) -> str:
    """Renders a sweep's report as one page that needs no network."""
    writer = Writer(indian=report.indian)
    best = report.ranking[0]
    measure = DEFINITIONS[report.measure]
    maps = heat_maps(report.ranking, report.measure)
    body = f"""
<header><h1>{escape(report.title)}</h1><p>{escape(f"the best by {measure.title}: {best.name}")}</p></header>
<div class="pair"><section><h3>What was run</h3>{sections.lines(report.about)}</section>
<section><h3>Assumptions</h3>{sections.lines(report.assumptions)}</section></div>
<h2>The best set</h2>{sections.tiles(best.figures, writer)}
<p class="note">The best of {writer.count(len(report.ranking))} sets is partly luck: what it earns on days that it was not chosen by is out of sample.</p>
<h2>{escape(measure.title)} by parameters</h2>{"".join(_map(each, report.measure, writer) for each in maps) or '<p class="note">No parameter has two values.</p>'}
{_out_of_sample(report.tried, writer) if report.tried else ""}
<h2>Equity of the best sets</h2><div class="chart" id="strategies"></div>
<h2>All sets</h2>{_ranking(report.ranking, writer)}"""
    return html_page(report.title, body, _data(report))


def _ranking(ranking: Sequence[SetResult], writer: Writer) -> str:
    titles = (DEFINITIONS[name].title for name in COLUMNS)
    rows = (_set_row(rank, each, writer) for rank, each in enumerate(ranking[:MOST_ROWS], 1))
    more = len(ranking) - MOST_ROWS
    note = f'<p class="note">and {writer.count(more)} more; --csv has all.</p>' if more > 0 else ""
    return table(("", "Set", *titles), rows) + note


def _set_row(rank: int, result: SetResult, writer: Writer) -> str:
    cells = []
    for name in COLUMNS:
        figure = result.figures[name]
        cells.append((writer.figure(figure), tone(figure.value) if name in sections.COLOURED else ""))
    return row(writer.count(rank), (result.name, "left"), *cells)


def _map(heat: HeatMap, measure: str, writer: Writer) -> str:
    found = [each for line in heat.cells for each in line if each is not None]
    values = [value for each in found if (value := each.figures.value(measure)) is not None]
    best = found[0] if not found else min(found, key=lambda each: _best(each, measure))
    lines = []
    for name, line in zip(heat.rows, heat.cells, strict=True):
        cells = "".join(_heat_cell(each, best, measure, values, writer) for each in line)
        lines.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in heat.columns)
    corner = f"{heat.down} ↓ {heat.across} →" if heat.down else f"{heat.across} →"
    others = f", each at the best {', '.join(heat.others)}" if heat.others else ""
    return (
        f"<section><h3>{escape(heat.strategy_type + others)}</h3>"
        f'<div class="wide"><table class="heat"><tr><th>{escape(corner)}</th>{head}</tr>{"".join(lines)}</table></div></section>'
    )


def _best(result: SetResult, measure: str) -> Decimal:
    value = result.figures.value(measure)
    if value is None:
        return Decimal("Infinity")
    return Decimal(value) if measure in FALLS else -Decimal(value)


def _heat_cell(
    result: SetResult | None, best: SetResult, measure: str, values: Sequence[Any], writer: Writer
) -> str:
    if result is None:
        return "<td></td>"
    figure = result.figures[measure]
    share = strength(figure.value, values)
    if share is not None and measure in FALLS:
        share = -share
    colour = ""
    if share is not None:
        tint = "up" if share >= 0 else "down"
        colour = f' style="background: rgb(var(--{tint}) / {0.06 + 0.5 * abs(share):.2f})"'
    shown = writer.short(figure.value) if measure == "net_pnl" and figure.value is not None else None
    of = ' class="best"' if result is best else ""
    title = escape(f"{result.name}: {writer.figure(figure)}{' ' + figure.reason if figure.reason else ''}")
    return f'<td{of}{colour} title="{title}">{escape(shown or writer.figure(figure))}</td>'


def _out_of_sample(found: OutOfSample, writer: Writer) -> str:
    rows = (
        row(
            f"{day_text(each.trial.first, '')} to {day_text(each.trial.trained, '')}",
            (each.trial.chosen.name, "left"),
            f"{day_text(each.trial.test, '')} to {day_text(each.trial.last, '')}",
            (writer.rupees(each.net_pnl), tone(each.net_pnl)),
            (percent(each.return_), tone(each.return_)),
            writer.count(each.round_trips),
            writer.rupees(each.charges),
        )
        for each in found.tried
    )
    figures = [(found.figures[name], DEFINITIONS[name]) for name in TRIAL_FIGURES]
    tiles = "".join(
        f'<div title="{escape(of.text)}"><span>{escape(of.title)}</span>'
        f'<b class="{tone(figure.value) if figure.name in sections.COLOURED else ""}">{escape(writer.figure(figure))}</b>'
        f"<small>{escape(figure.reason)}</small></div>"
        for figure, of in figures
    )
    windows = table(
        ("Chosen by", "Set", "Out of sample", "Net P&L", "Return", "Round trips", "Charges"), rows
    )
    return f"""<h2>Out of sample</h2><div class="tiles">{tiles}</div><div class="chart" id="trials"></div>{windows}
<p class="note">Each window's set was chosen on its own days before; it begins flat, warmed up by them. What is open at a window's end
is valued at the last price.</p>"""


def _data(report: SweepReport) -> str:
    best = report.ranking[:SHOWN_CURVES]
    return json.dumps(
        {
            "indian": report.indian,
            "times": [],
            "equity": [],
            "held": [],
            "days": [end.day.isoformat() for end in best[0].ends],
            "strategies": [_curve(each.name, each.ends) for each in best],
            "trials": None
            if report.tried is None
            else {
                "days": [end.day.isoformat() for end in report.tried.ends],
                **_curve("out of sample", report.tried.ends),
            },
            "prices": [],
            "trips": None,
        },
        separators=(",", ":"),
    ).replace("</", "<\\/")


def _curve(name: str, ends: Sequence[DayEnd]) -> dict[str, Any]:
    return {"name": name, "equity": paise(float(end.equity) for end in ends)}
