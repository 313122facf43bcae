"""The rules, in the order they are asked. A rule is one file here and one line below."""

from __future__ import annotations

from alphapanda.risk.core.check import Rule
from alphapanda.risk.core.rules import (
    instrument,
    kill_switch,
    market_hours,
    order_quantity,
    position_quantity,
    price,
    product,
    strategy_state,
    valid_until,
)

RULES: tuple[Rule, ...] = (
    Rule(kill_switch.NAME, "KILL_SWITCH", kill_switch.judge),
    Rule(market_hours.NAME, "MARKET_HOURS", market_hours.judge),
    Rule(valid_until.NAME, "EXPIRED", valid_until.judge),
    Rule(strategy_state.NAME, "STRATEGY_STATE", strategy_state.judge),
    Rule(instrument.NAME, "INSTRUMENT", instrument.judge),
    Rule(product.NAME, "PRODUCT", product.judge),
    Rule(price.NAME, "PRICE", price.judge),
    Rule(order_quantity.NAME, "ORDER_QUANTITY", order_quantity.judge),
    Rule(position_quantity.NAME, "POSITION_QUANTITY", position_quantity.judge),
)
