"""Refuses entries at a live broker that are opposed to another strategy of the account in the instrument (REAL_MONEY rules 9 and 10).

The exchange cancels the resting one of two orders of one owner that could trade with each other, and a broker keeps one net
position, in which two opposed ones vanish: an exit of either would open the other.
"""

from __future__ import annotations

from collections.abc import Iterator

from alphapanda.domain.order import PositionEffect
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass

NAME = "self_trade"
LIMIT = "no opposed order or position"
_PASSED = RuleResult(NAME, RuleOutcome.PASSED, LIMIT, "none")


def judge(check: Check) -> RuleResult:
    """Checks the account's other orders in the instrument, of any product, and its other positions of the same product."""
    opposed = next(_opposed(check), "")
    if not opposed:
        return _PASSED
    if check.effect is PositionEffect.REDUCES:
        return RuleResult(NAME, RuleOutcome.PASSED, LIMIT, opposed)
    message = f"{opposed}: a live account doesn't trade against itself"
    return only_exits_pass(check, NAME, LIMIT, opposed, message)


def _opposed(check: Check) -> Iterator[str]:
    key, sign = check.signal.key, check.side.sign
    for other in check.others:
        if other.key.instrument_id != key.instrument_id:
            continue
        whose = f"strategy {other.key.strategy_id!r}"
        order = other.open
        if order is not None and order.on_its_way * sign < 0:
            yield f"{whose} {order.side.name.lower()}s {abs(order.on_its_way)} {key.instrument_id}"
        if other.key.product is key.product and other.quantity * sign < 0:
            yield f"{whose} holds {other.quantity} {key.instrument_id} as {key.product.name}"


RULE = Rule(NAME, judge, only_live=True)
