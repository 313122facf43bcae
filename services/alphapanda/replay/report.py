"""Renders a replay's report as a self-contained HTML page, and its fills as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from decimal import Decimal
from html import escape
from io import StringIO
from typing import Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import Side
from alphapanda.replay.as_json import IST
from alphapanda.replay.figure import Figure, Unit
from alphapanda.replay.journal import ReplayJournal, Trade
from alphapanda.replay.performance import Performance

TRADE_COLUMNS: Final = (
    "traded_at",
    "strategy",
    "instrument",
    "product",
    "side",
    "quantity",
    "price",
    "commission",
    "realised",
    "position",
    "order_id",
)
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SHOWN_INSTRUMENTS: Final = 6
NOT_DEFINED: Final = "n/a"
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; color: #1f2933; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .25rem .8rem .25rem 0; text-align: right; font-weight: normal; }
td:first-child, th:first-child { text-align: left; } th { color: #64707d; }
.good { color: #0b7a4b; } .bad { color: #b42318; } .note { color: #64707d; font-size: .85rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); gap: .8rem; }
.figures div { background: #f4f6f8; border-radius: 8px; padding: .6rem .8rem; } .figures b { display: block; }
"""


def trades_csv(trades: Sequence[Trade]) -> str:
    """The fills as CSV with TRADE_COLUMNS; times in IST, money exact."""
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(TRADE_COLUMNS)
    for trade in trades:
        order, fill = trade.filled.order, trade.filled.fill
        rows.writerow(
            (
                fill.traded_at.astimezone(IST).isoformat(),
                order.key.strategy_id,
                order.key.instrument_id,
                order.key.product.name,
                order.side.name,
                fill.quantity,
                f"{fill.price:f}",
                f"{fill.commission:f}",
                f"{trade.realised:f}",
                trade.position,
                order.order_id,
            )
        )
    return text.getvalue()


def report_html(
    title: str,
    summary: Mapping[str, object],
    found: Performance,
    journal: ReplayJournal,
    directory: InstrumentDirectory,
) -> str:
    """Renders the report: figures, equity and drawdown, monthly returns, trades on the price, summary.

    Args:
        title: title of the page.
        summary: the command's summary.
        found: what the journal comes to.
        journal: samples and fills.
        directory: the instruments, for their names.
    """
    money = _equity_figure(journal).to_html(
        full_html=False, include_plotlyjs=True, config={"displaylogo": False}
    )
    prices = "".join(_price_sections(journal, directory))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<div class="figures">{"".join(map(_tile, found.figures))}</div>
<h2>Equity and drawdown</h2>{money}
<h2>Months</h2>{_months(found)}
<h2>Trades on the price</h2>{prices or '<p class="note">No trade was made.</p>'}
<h2>Summary</h2><table>{"".join(_rows(summary))}</table>
</body></html>
"""


def _shown(figure: Figure) -> str:
    value = figure.value
    if value is None:
        return NOT_DEFINED
    match figure.definition.unit:
        case Unit.FRACTION:
            return f"{value:.2%}"
        case Unit.RATIO:
            return f"{value:.2f}"
        case Unit.RUPEES:
            return f"₹{value:,.2f}"
        case Unit.COUNT | Unit.TRADING_DAYS:
            return f"{value:,}"


def _tile(figure: Figure) -> str:
    why = f'<span class="note">{escape(figure.reason)}</span>' if figure.reason else ""
    about = escape(figure.definition.text)
    return f'<div title="{about}"><b>{_shown(figure)}</b>{escape(figure.definition.title)}{why}</div>'


def _rows(summary: Mapping[str, object]) -> list[str]:
    return [
        f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>" for name, value in summary.items()
    ]


def _equity_figure(journal: ReplayJournal) -> go.Figure:
    times = [sample.at.astimezone(IST) for sample in journal.samples]
    equity = [float(sample.equity) for sample in journal.samples]
    falls, peak = [], float("-inf")
    for value in equity:
        peak = max(peak, value)
        falls.append(value / peak - 1)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.04)
    figure.add_scatter(x=times, y=equity, name="equity", line={"color": "#2563eb"}, row=1, col=1)
    figure.add_scatter(
        x=times, y=falls, name="drawdown", fill="tozeroy", line={"color": "#b42318"}, row=2, col=1
    )
    figure.update_yaxes(title="rupees", row=1, col=1)
    figure.update_yaxes(title="drawdown", tickformat=".1%", row=2, col=1)
    figure.update_layout(height=460, margin={"l": 60, "r": 10, "t": 10, "b": 30}, showlegend=False)
    return figure


def _price_sections(journal: ReplayJournal, directory: InstrumentDirectory) -> list[str]:
    by_token: dict[int, list[Trade]] = {}
    for trade in journal.trades:
        by_token.setdefault(trade.filled.order.instrument_token, []).append(trade)
    busiest = sorted(by_token, key=lambda token: -len(by_token[token]))
    sections = []
    for token in busiest[:SHOWN_INSTRUMENTS]:
        instrument = directory.by_token(token)
        name = instrument.symbol if instrument else str(token)
        figure = _price_figure(journal.prices.get(token, ()), by_token[token])
        sections.append(f"<h3>{escape(name)}</h3>{figure.to_html(full_html=False, include_plotlyjs=False)}")
    if len(busiest) > SHOWN_INSTRUMENTS:
        sections.append(f'<p class="note">and {len(busiest) - SHOWN_INSTRUMENTS} more; --trades has all.</p>')
    return sections


def _price_figure(prices: Sequence[tuple[object, Decimal]], trades: Sequence[Trade]) -> go.Figure:
    figure = go.Figure()
    figure.add_scattergl(
        x=[at for at, _ in prices],
        y=[float(price) for _, price in prices],
        name="price",
        line={"color": "#9aa5b1"},
    )
    for side, colour, symbol in (
        (Side.BUY, "#0b7a4b", "triangle-up"),
        (Side.SELL, "#b42318", "triangle-down"),
    ):
        shown = [trade.filled.fill for trade in trades if trade.filled.order.side is side]
        figure.add_scattergl(
            x=[fill.traded_at for fill in shown],
            y=[float(fill.price) for fill in shown],
            mode="markers",
            name=side.name.lower(),
            marker={"color": colour, "symbol": symbol, "size": 7},
            text=[f"{fill.quantity} @ {fill.price}" for fill in shown],
        )
    figure.update_layout(height=360, margin={"l": 60, "r": 10, "t": 10, "b": 30})
    return figure


def _months(found: Performance) -> str:
    years = sorted({year for (year, _), _ in found.monthly})
    by_month = dict(found.monthly)
    head = "".join(f"<th>{month}</th>" for month in MONTHS)
    body = ""
    for year in years:
        cells = "".join(_month_cell(by_month.get((year, month))) for month in range(1, len(MONTHS) + 1))
        body += f"<tr><td>{year}</td>{cells}</tr>"
    return f"<table><tr><th></th>{head}</tr>{body}</table>"


def _month_cell(value: float | None) -> str:
    if value is None:
        return "<td></td>"
    return f'<td class="{"good" if value >= 0 else "bad"}">{value:+.1%}</td>'
