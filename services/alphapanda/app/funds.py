"""Builds the terms by which the funds of simulated accounts are measured, from the settings."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from alphapanda.domain.funds import FundsTerms
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.margin import HUNDRED, MarginKind, load_margin_model
from alphapanda.domain.money import to_paisa
from alphapanda.domain.order import Product, Side
from alphapanda.settings.services import PaperTradingSettings


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
    commission = paper.commission_percent / HUNDRED

    def charges(
        _instrument: Instrument, _product: Product, _side: Side, quantity: int, price: Decimal, _day: date
    ) -> Decimal:
        return to_paisa(quantity * price * commission)

    return FundsTerms(margins, paper.slippage_percent / HUNDRED, charges, paper.buying_power)
