"""The rules, in the order they are asked. A rule is one file here and one line below."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Rule
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.rules import (
    cooldown,
    daily_loss,
    daily_trades,
    duplicate_signal,
    gross_exposure,
    instrument,
    kill_switch,
    market_hours,
    open_orders,
    order_quantity,
    order_rate,
    order_value,
    position_quantity,
    position_value,
    price,
    product,
    strategy_state,
    valid_until,
)

RULES: tuple[Rule, ...] = (
    Rule(kill_switch.NAME, kill_switch.judge),
    Rule(market_hours.NAME, market_hours.judge),
    Rule(valid_until.NAME, valid_until.judge, says="EXPIRED"),
    Rule(strategy_state.NAME, strategy_state.judge),
    Rule(instrument.NAME, instrument.judge, instrument.most),
    Rule(product.NAME, product.judge),
    Rule(price.NAME, price.judge),
    Rule(order_quantity.NAME, order_quantity.judge, order_quantity.most, ("max_order_quantity",)),
    Rule(position_quantity.NAME, position_quantity.judge, position_quantity.most, ("max_position_quantity",)),
    Rule(order_value.NAME, order_value.judge, order_value.most, ("max_order_value",)),
    Rule(position_value.NAME, position_value.judge, position_value.most, ("max_position_value",)),
    Rule(gross_exposure.NAME, gross_exposure.judge, gross_exposure.most, ("max_gross_exposure",)),
    Rule(open_orders.NAME, open_orders.judge, limits=("max_open_orders",)),
    Rule(daily_trades.NAME, daily_trades.judge, limits=("max_daily_trades", "max_strategy_daily_trades")),
    Rule(daily_loss.NAME, daily_loss.judge, limits=("max_daily_loss",)),
    Rule(order_rate.NAME, order_rate.judge, limits=("max_order_rate", "max_strategy_order_rate")),
    Rule(duplicate_signal.NAME, duplicate_signal.judge, limits=("duplicate_window",)),
    Rule(cooldown.NAME, cooldown.judge, limits=("cooldown_losses",)),
)


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """The rules that have something to say under some limits, and what a verdict says where none was asked."""

    rules: tuple[Rule, ...]
    not_asked: tuple[RuleResult, ...]


@lru_cache(maxsize=4096)
def in_force(limits: Limits) -> RulesInForce:
    """Those rules whose limit is set, and those without one; chosen once for the same limits."""
    rules = tuple(
        rule
        for rule in RULES
        if not rule.limits or any(getattr(limits, name) is not None for name in rule.limits)
    )
    return RulesInForce(rules, tuple(RuleResult(rule.name, RuleOutcome.NOT_APPLICABLE) for rule in rules))
