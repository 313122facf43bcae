"""What a replay's figures rest on, as lines of a name and a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from alphapanda.app.funds import funds_terms_of
from alphapanda.domain.charge_rates import Sureness
from alphapanda.domain.charges import NO_CHARGES, Charges
from alphapanda.domain.fill_rule import FillRule
from alphapanda.domain.margin import MarginKind
from alphapanda.paper_exchange.core.fill_models import Queue, Slippage
from alphapanda.settings.model import Settings
from alphapanda.settings.services import PaperTradingSettings

ASSUMED_CHARGES: Final = "ASSUMED charges"
"""Name of the line that says which charges are at rates that nobody knows; absent where there are none."""
_FILLS: Final = {
    FillRule.NEXT_OPEN: "on bars at the open of the instrument's next bar (next_open), on ticks at once at their price",
    FillRule.CLOSE: "at once at the last price, on bars the close of the bar that is known (close)",
}

_MOST_FILES: Final = 5


Writes = Callable[[Decimal], str]
"""Writes an amount of rupees."""


def plain(amount: Decimal) -> str:
    """An amount for programs: 1000000 rupees."""
    return f"{amount} rupees"


def assumptions(
    settings: Settings, accounts: int = 1, charged: Charges = NO_CHARGES, writes: Writes = plain
) -> list[tuple[str, str]]:
    """The assumptions behind the figures: when orders fill and at what price, charges, funds, square-off.

    Args:
        settings: the settings.
        accounts: number of accounts; more than one: each strategy has its own.
        charged: the charges of the run by line.
        writes: writes amounts.
    """
    each = f" for each of {accounts} strategies" if accounts > 1 else ""
    paper = settings.paper_trading
    return [
        *_assumed(charged),
        ("fills", f"{_FILLS[paper.fill]}, {_how_much(paper)}"),
        ("slippage", f"{_slippage(paper)}, always against you, to the next tick"),
        *_limits(paper),
        ("charges", _charges(paper)),
        ("funds", f"starting cash of {writes(paper.starting_cash)}{each}; {_funds(paper)}"),
        *([] if paper.as_live else [("refusals", "orders that Zerodha would refuse are taken, too")]),
        ("square-off of MIS", f"at {paper.square_off_time:%H:%M}"),
    ]


def _how_much(paper: PaperTradingSettings) -> str:
    if paper.fill_share_percent is None:
        return "whole, whatever was traded"
    return f"of an order that waits at most {paper.fill_share_percent}% of what was traded meanwhile"


def _slippage(paper: PaperTradingSettings) -> str:
    match paper.slippage:
        case Slippage.SPREAD:
            return f"half of a spread of {paper.spread_ticks} price steps"
        case Slippage.VOLUME_SHARE:
            return f"{paper.slippage_percent}% of the price times the order's share of the traded volume"
        case Slippage.PERCENT:
            return f"{paper.slippage_percent}% of the price times 0.5 to 1.5"


def _limits(paper: PaperTradingSettings) -> list[tuple[str, str]]:
    """How far the models differ from what is assumed where nothing is set."""
    found = []
    if paper.queue is Queue.BACK:
        found.append(("limit orders", "trade only when the price goes beyond their limit"))
    if paper.latency_ms:
        found.append(("latency", f"an order is at the exchange {paper.latency_ms} ms after its call"))
    return found


def _funds(paper: PaperTradingSettings) -> str:
    if not paper.buying_power:
        return "entries needn't be paid"
    margins = funds_terms_of(paper).margins
    mis, futures, options = (f"{margins.percent(kind, date.max):g}%" for kind in MarginKind)
    return (
        f"intraday shares need {mis} of their value, futures {futures}, short options {options} of the strike, everything"
        " else its whole value; an entry that can't be paid, when it is decided or at the price at which it would fill, is"
        " refused"
    )


def _charges(paper: PaperTradingSettings) -> str:
    if paper.charges == "none":
        return "none"
    if paper.charges == "percent":
        return f"{paper.commission_percent}% of the turnover"
    return "what Zerodha charges, at the rates of each day"


def _assumed(charged: Charges) -> list[tuple[str, str]]:
    names = [line.name for line in charged.lines if line.sureness is Sureness.ASSUMED]
    if not names:
        return []
    what = f"the oldest known rates stand in for days before them: assumed are {', '.join(names)}"
    return [(ASSUMED_CHARGES, what)]


def data_recognised(lines: Sequence[str]) -> list[tuple[str, str]]:
    """The assumption that the files mean what was recognised in them, for people; none where nothing was read.

    Args:
        lines: a line a file.
    """
    more = len(lines) - _MOST_FILES
    shown = [*lines[:_MOST_FILES], *([f"and {more} more"] if more > 0 else [])]
    return [("data", ". ".join(shown))] if shown else []
