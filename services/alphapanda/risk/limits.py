"""The limits in force, from the settings."""

from __future__ import annotations

from datetime import time, timedelta

from alphapanda.risk.core.limits import Limits
from alphapanda.settings import RiskSettings


def limits_of(settings: RiskSettings, mis_cut_off: time) -> Limits:
    """The limits of every account; `mis_cut_off` is the market's local time (paper_trading.square_off_time)."""
    enforced = settings.limits_enforced
    return Limits(
        max_order_quantity=settings.max_order_quantity if enforced else None,
        max_position_quantity=settings.max_position_quantity if enforced else None,
        price_max_age=timedelta(seconds=settings.price_max_age_seconds),
        mis_cut_off=mis_cut_off,
    )
