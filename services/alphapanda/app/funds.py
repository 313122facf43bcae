"""Builds the terms by which the funds of simulated accounts are measured, from the settings."""

from __future__ import annotations

from decimal import Decimal

from alphapanda.app.paper import paper_charges
from alphapanda.domain.funds import FundsTerms
from alphapanda.domain.margin import HUNDRED, MarginKind, load_margin_model
from alphapanda.risk.core.check import Venue
from alphapanda.settings.services import PaperTradingSettings


def venue_of(paper: PaperTradingSettings) -> Venue:
    """Where orders of the paper broker go, as far as rules differ by it."""
    return Venue.AS_LIVE if paper.as_live else Venue.PAPER


def funds_terms_of(paper: PaperTradingSettings) -> FundsTerms:
    """Builds the terms of the paper broker's accounts."""
    leverage = paper.margin_mis_leverage
    margins = load_margin_model().with_percents(
        {
            MarginKind.MIS_EQUITY: None if leverage is None else HUNDRED / leverage,
            MarginKind.FUTURES: paper.margin_futures_percent,
            MarginKind.SHORT_OPTIONS: paper.margin_short_options_percent,
        }
    )
    # Slippage is drawn up to half as much again.
    return FundsTerms(
        margins,
        paper.slippage_percent * Decimal("1.5") / HUNDRED,
        paper_charges(paper).estimate,
        paper.buying_power,
    )
