"""Builds the paper exchange's fill model, the same for a replay and a running platform."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from alphapanda.domain.charge_rates import load_charge_rates
from alphapanda.paper_exchange.core.fill_models import FillModels
from alphapanda.paper_exchange.core.paper_charges import KiteCharges, PaperCharges, PercentCharges
from alphapanda.paper_exchange.core.paper_market import PaperMarket
from alphapanda.settings.model import Settings
from alphapanda.settings.services import PaperTradingSettings


def paper_market(settings: Settings) -> PaperMarket:
    """Builds the fill model of the settings."""
    paper = settings.paper_trading
    models = FillModels(
        paper.slippage,
        paper.spread_ticks,
        paper.fill_share_percent,
        timedelta(milliseconds=paper.latency_ms),
        paper.queue,
        paper.circuit_percent or None,
    )
    return PaperMarket(paper.slippage_percent, paper_charges(paper), settings.marketdata.seed, models)


def paper_charges(paper: PaperTradingSettings) -> PaperCharges:
    """Builds what fills are charged."""
    if paper.charges == "kite":
        return KiteCharges(load_charge_rates())
    return PercentCharges(paper.commission_percent if paper.charges == "percent" else Decimal(0))
