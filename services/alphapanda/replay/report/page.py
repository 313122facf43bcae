"""Puts a report together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from html import escape
from importlib import resources

from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.replay.curves import Curves
from alphapanda.replay.journal import Trade
from alphapanda.replay.performance import Performance
from alphapanda.replay.report import sections
from alphapanda.replay.report.payload import SHOWN_INSTRUMENTS, busiest, payload, symbol_of
from alphapanda.replay.report.writing import Writer, day_text


@dataclass(frozen=True, slots=True)
class Report:
    """What a report shows.

    Attributes:
        title: such as "ema_cross on NSE:INFY".
        about: lines of a name and a value on what was run: strategies, files.
        assumptions: lines of a name and a value on what the figures rest on.
        summary: the run's counts and amounts, for its last section.
        money: names of the summary's amounts.
        found: what the replay came to.
        curves: samples of equity and prices.
        trades: all fills.
        first_prices: of the watched instruments, rupees by token.
        directory: the instruments, for their names.
        indian: whether numbers are written as in India.
    """

    title: str
    about: Sequence[tuple[str, str]]
    assumptions: Sequence[tuple[str, str]]
    summary: Mapping[str, object]
    money: frozenset[str]
    found: Performance
    curves: Curves
    trades: Sequence[Trade]
    first_prices: Mapping[int, Decimal]
    directory: InstrumentDirectory
    indian: bool = True


def report_html(report: Report) -> str:
    """Renders a report as one page that needs no network."""
    found, writer = report.found, Writer(indian=report.indian)
    data = payload(
        found, report.curves, report.trades, report.first_prices, report.directory, indian=report.indian
    )
    several = len(found.strategies) > 1
    about = [*report.about, *_period(found, writer)]
    body = f"""
<header><h1>{escape(report.title)}</h1><p>{escape(_subtitle(found, writer))}</p></header>
<div class="pair"><section><h3>What was run</h3>{sections.lines(about)}</section>
<section><h3>Assumptions</h3>{sections.lines(report.assumptions)}</section></div>
{sections.tiles(found.figures, writer)}
<h2>Equity and drawdown</h2><div class="chart" id="equity"></div><div class="chart" id="drawdown"></div>
<p class="note">Nights and holidays are left out. Drag to look closer, double-click to see all.</p>
<h2>Months</h2>{sections.months(found)}
<h2>Figures</h2><div class="pair">{sections.figure_tables(found.figures, writer)}</div>
{f'<h2>Strategies</h2><div class="chart" id="strategies"></div>{sections.strategies(found.strategies, writer)}' if several else ""}
<h2>Falls</h2>{sections.falls(found, writer)}
<h2>Trades on the price</h2>{_prices(report)}
<h2>Round trips</h2><div id="trips"></div>
<h2>The run</h2>{sections.lines(sections.run_lines(report.summary, report.money, writer))}"""
    return html_page(report.title, body, data)


def html_page(title: str, body: str, data: str = "null") -> str:
    """A page with the report's style and script; `data` is JSON for the script."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)}</title><style>{_asset("uPlot.min.css")}{_asset("report.css")}</style></head><body>{body}
<noscript><p class="note">Charts and the list of round trips need JavaScript.</p></noscript>
<script>{_asset("uPlot.iife.min.js")}</script>
<script id="data" type="application/json">{data}</script>
<script>{_asset("report.js")}</script></body></html>
"""


def _subtitle(found: Performance, writer: Writer) -> str:
    if not found.ends:
        return "no trading day"
    first, last = found.ends[0].day, found.ends[-1].day
    days = "1 trading day" if len(found.ends) == 1 else f"{writer.count(len(found.ends))} trading days"
    period = day_text(first, "") if first == last else f"{day_text(first, '')} to {day_text(last, '')}"
    return f"{period}, {days}, {writer.short(found.starting_cash)} to {writer.short(found.equity)}"


def _period(found: Performance, writer: Writer) -> list[tuple[str, str]]:
    cash = [
        ("starting cash", f"{writer.rupees(found.starting_cash)} ({writer.short(found.starting_cash)})"),
        ("equity at the end", writer.rupees(found.equity)),
    ]
    if not found.ends:
        return [("period", "no trading day"), *cash]
    first, last = day_text(found.ends[0].day, ""), day_text(found.ends[-1].day, "")
    return [("period", f"{first} to {last}, {writer.count(len(found.ends))} trading days"), *cash]


def _prices(report: Report) -> str:
    tokens = busiest(report.trades)
    if not tokens:
        return '<p class="note">No trade was made.</p>'
    charts = "".join(
        f'<h3>{escape(symbol_of(token, report.directory))}</h3><div class="chart price"></div>'
        for token in tokens[:SHOWN_INSTRUMENTS]
    )
    more = len(tokens) - SHOWN_INSTRUMENTS
    return charts + (
        f'<p class="note">and {more} more instruments; --trades has all.</p>' if more > 0 else ""
    )


@lru_cache(maxsize=8)
def _asset(name: str) -> str:
    return resources.files("alphapanda.replay.report").joinpath(f"assets/{name}").read_text(encoding="utf-8")
