"""The rules, in the order in which they are evaluated. A rule is one file here, with its limits, and one line below."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Final

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Rule
from alphapanda.risk.core.limits import Limits

_FILES: Final = (
    "kill_switch",
    "arming",
    "market_hours",
    "valid_until",
    "strategy_state",
    "instrument",
    "product",
    "capability",
    "self_trade",
    "intraday_short",
    "restricted",
    "price",
    "order_quantity",
    "position_quantity",
    "order_value",
    "position_value",
    "gross_exposure",
    "buying_power",
    "open_orders",
    "daily_trades",
    "daily_loss",
    "order_rate",
    "duplicate_signal",
    "cooldown",
    "rejections",
)

RULES: Final[tuple[Rule, ...]] = tuple(import_module(f"{__name__}.{file}").RULE for file in _FILES)


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """The rules in force under some limits, and their results in a verdict for which none was evaluated."""

    rules: tuple[Rule, ...]
    not_asked: tuple[RuleResult, ...]


@lru_cache(maxsize=4096)
def in_force(limits: Limits, live: bool = False) -> RulesInForce:
    """The rules with at least one limit set, and those without limits; cached per set of limits.

    Args:
        limits: the limits.
        live: whether the account's orders reach a real exchange; rules that are only for those are left out otherwise.
    """
    rules = tuple(
        rule
        for rule in RULES
        if (live or not rule.only_live)
        and (not rule.limits or any(limits.of(limit) is not None for limit in rule.limits))
    )
    return RulesInForce(rules, tuple(RuleResult(rule.name, RuleOutcome.NOT_APPLICABLE) for rule in rules))
