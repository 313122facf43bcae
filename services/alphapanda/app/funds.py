"""Builds the terms by which the funds of simulated accounts are measured, from the settings."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import ROUND_CEILING, Decimal

from alphapanda.app.paper import paper_charges
from alphapanda.domain.funds import FundsTerms
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.margin import HUNDRED, MarginKind, load_margin_model
from alphapanda.domain.order import Product, Side
from alphapanda.settings.services import PaperTradingSettings
from alphapanda.trading.core.paper_charges import PaperOrder

_EXACT = Decimal("0.0001")
NOON = time(6, 30)
"""Noon in India, in UTC."""


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
    model = paper_charges(paper)

    def charges(
        instrument: Instrument, product: Product, side: Side, quantity: int, price: Decimal, day: date
    ) -> Decimal:
        order = PaperOrder("", "", instrument, product, side, quantity)
        exact = price.quantize(_EXACT, ROUND_CEILING)
        return model.of(order, quantity, exact, datetime.combine(day, NOON, UTC), 0)[0]

    # Slippage is drawn up to half as much again.
    return FundsTerms(margins, paper.slippage_percent * Decimal("1.5") / HUNDRED, charges, paper.buying_power)
