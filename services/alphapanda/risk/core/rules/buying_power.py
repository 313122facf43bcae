"""Refuses entries that the funds of a simulated account can't pay; a live broker checks its own funds."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

from alphapanda.domain.funds import AccountFunds
from alphapanda.domain.order import PositionEffect
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.exposure import rupees
from alphapanda.risk.core.funds import most_lots, needed_by

NAME = "buying_power"
_PASSED = RuleOutcome.PASSED
_REDUCES = PositionEffect.REDUCES
_NOT_APPLICABLE = RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
_EXIT = RuleResult(NAME, RuleOutcome.PASSED, "", "", "")


def judge(check: Check) -> RuleResult:
    """Checks that the account's available funds cover the margin and charges of what the order opens."""
    terms = check.inputs.funds
    if terms is None or not terms.enforced:
        return _NOT_APPLICABLE
    if check.effect is _REDUCES:
        return _EXIT
    funds = check.account.funds_of(check.signal.key)
    if funds is None:
        return only_exits_pass(check, NAME, "", "unknown", "the account's funds are unknown", unknown=True)
    available, need = funds.available, needed_by(check, terms, check.quantity)
    if need is not None and need <= available:
        return RuleResult(NAME, _PASSED, partial(_at_most, available), partial(rupees, need))
    if need is None:
        message = f"what {check.signal.key.instrument_id} needs is unknown: {_missing(check)}"
        return only_exits_pass(check, NAME, _at_most(available), "unknown", message, unknown=True)
    message = _too_little(check, need, funds)
    return only_exits_pass(check, NAME, _at_most(available), rupees(need), message)


def largest_quantity(check: Check) -> int:
    """Units that the available funds pay, in whole lots."""
    terms = check.inputs.funds
    funds = check.account.funds_of(check.signal.key)
    if terms is None or funds is None or check.instrument is None:
        return 0
    lot = check.instrument.lot_size
    lots = most_lots(check.quantity // lot, lambda lots: needed_by(check, terms, lots * lot), funds.available)
    return lots * lot


def _at_most(available: Decimal) -> str:
    return f"<= {rupees(available)}"


def _missing(check: Check) -> str:
    if check.instrument is None:
        return "it is not a known instrument"
    if check.price is None:
        return "there is no price"
    if check.inputs.market.market_time is None:
        return "the market's day is unknown"
    return "its symbol doesn't say its strike"


def _too_little(check: Check, need: Decimal, funds: AccountFunds) -> str:
    key = check.signal.key
    what = f"{check.side.name} {check.quantity} {key.instrument_id} as {key.product.name}"
    return (
        f"{what} needs {rupees(need)} rupees of margin and charges, account {key.account!r} has"
        f" {rupees(funds.available)} available; {largest_quantity(check)} would pass"
    )


RULE = Rule(NAME, judge, largest_quantity)
