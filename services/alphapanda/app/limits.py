"""Builds the limits that hold for every account, from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time, timedelta

from alphapanda.risk.core.limit import Value
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.named_limits import NAMED_LIMITS
from alphapanda.settings.model import Settings
from alphapanda.settings.services import RiskSettings


def limits_of(settings: RiskSettings, mis_cut_off: time) -> Limits:
    """Builds the limits; `mis_cut_off` is the market's local time (paper_trading.square_off_time)."""
    values = {
        limit.name: settings.value_of(limit)
        for limit in NAMED_LIMITS.values()
        if settings.limits_enforced or not limit.may_be_off
    }
    return Limits(timedelta(seconds=settings.price_max_age_seconds), mis_cut_off, values)


def limits_at_brokers(settings: Settings, limits: Limits) -> Mapping[str, Limits]:
    """The limits at brokers that have limits of their own: Zerodha's, which also hold where `limits_enforced` is false."""
    zerodha = settings.zerodha
    given: Mapping[str, Value] = {
        "max_order_value": zerodha.max_order_value,
        "max_daily_loss": zerodha.max_daily_loss,
        "max_daily_trades": zerodha.max_daily_trades,
    }
    own = {name: value for name, value in given.items() if value is not None}
    return {"zerodha": limits.with_values(own)} if own else {}
