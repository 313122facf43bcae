"""Builds the limits that hold for every account, from the settings."""

from __future__ import annotations

from datetime import time, timedelta

from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.named_limits import NAMED_LIMITS
from alphapanda.settings.services import RiskSettings


def limits_of(settings: RiskSettings, mis_cut_off: time) -> Limits:
    """Builds the limits; `mis_cut_off` is the market's local time (paper_trading.square_off_time)."""
    values = {
        limit.name: settings.value_of(limit)
        for limit in NAMED_LIMITS.values()
        if settings.limits_enforced or not limit.may_be_off
    }
    return Limits(timedelta(seconds=settings.price_max_age_seconds), mis_cut_off, values)
