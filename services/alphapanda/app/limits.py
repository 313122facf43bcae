"""The limits of every account, from the settings."""

from __future__ import annotations

from datetime import time, timedelta

from alphapanda.risk.core.limits import Limits
from alphapanda.settings.services import RiskSettings


def limits_of(settings: RiskSettings, mis_cut_off: time) -> Limits:
    """The limits of every account; `mis_cut_off` is the market's local time (paper_trading.square_off_time)."""
    max_age = timedelta(seconds=settings.price_max_age_seconds)
    window = timedelta(seconds=settings.order_rate_window_seconds)
    cooldown = timedelta(seconds=settings.cooldown_seconds)
    if not settings.limits_enforced:
        return Limits(None, None, max_age, mis_cut_off, order_rate_window=window, cooldown=cooldown)
    duplicate = settings.duplicate_window_seconds
    return Limits(
        max_order_quantity=settings.max_order_quantity,
        max_position_quantity=settings.max_position_quantity,
        price_max_age=max_age,
        mis_cut_off=mis_cut_off,
        max_order_value=settings.max_order_value,
        max_position_value=settings.max_position_value,
        max_gross_exposure=settings.max_gross_exposure,
        max_open_orders=settings.max_open_orders,
        max_daily_trades=settings.max_daily_trades,
        max_strategy_daily_trades=settings.max_strategy_daily_trades,
        max_daily_loss=settings.max_daily_loss,
        max_order_rate=settings.max_order_rate,
        max_strategy_order_rate=settings.max_strategy_order_rate,
        order_rate_window=window,
        duplicate_window=None if duplicate is None else timedelta(seconds=duplicate),
        cooldown_losses=settings.cooldown_losses,
        cooldown=cooldown,
    )
