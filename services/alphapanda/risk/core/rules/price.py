"""Requires a fresh last price for an entry."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass

NAME = "price"


def judge(check: Check) -> RuleResult:
    """Checks that there is a price and that it isn't stale in market time; otherwise only exits pass.

    The close of a recorded bar isn't stale where orders fill at the next bar's open: they don't fill at it.
    """
    market = check.inputs.market
    max_age = check.inputs.limits.price_max_age
    last = market.prices.get(check.signal.instrument_token)
    if last is not None and last.bar is None and market.market_time is not None:
        age = market.market_time - last.traded_at
        if age <= max_age:
            return _fresh(max_age, age)
    limit = _seconds_old("<= ", max_age)
    if last is None:
        message = f"there is no price of {check.signal.key.instrument_id}"
        return only_exits_pass(check, NAME, limit, "none", message, unknown=True)
    if market.market_time is None:
        return only_exits_pass(check, NAME, limit, "unknown age", "the price's age is unknown", unknown=True)
    if last.bar is not None:
        return _passed(limit, "a recorded bar's close; the order fills at the next open")
    observed = _seconds_old("", market.market_time - last.traded_at)
    message = f"the price of {check.signal.key.instrument_id} is {observed}"
    return only_exits_pass(check, NAME, limit, observed, message, unknown=True)


@lru_cache(maxsize=4096)
def _fresh(max_age: timedelta, age: timedelta) -> RuleResult:
    return RuleResult(NAME, RuleOutcome.PASSED, _seconds_old("<= ", max_age), _seconds_old("", age))


@lru_cache(maxsize=4096)
def _passed(limit: str, observed: str) -> RuleResult:
    return RuleResult(NAME, RuleOutcome.PASSED, limit, observed)


@lru_cache(maxsize=4096)
def _seconds_old(sign: str, age: timedelta) -> str:
    return f"{sign}{age.total_seconds():g} s old"


RULE = Rule(NAME, judge)
