"""Checks the instrument: tradable, whole lots, at most ten freeze quantities.

The tick size isn't checked: a MARKET order has no price.
"""

from __future__ import annotations

from functools import lru_cache

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.limits import FREEZE_SLICES

NAME = "instrument"


def judge(check: Check) -> RuleResult:
    """Checks exits too, because the exchange would refuse them; only the maximum quantity is for entries alone."""
    instrument, signal, quantity = check.instrument, check.signal, check.quantity
    if instrument is None:
        known = f"{len(check.inputs.instruments)} known instruments"
        message = f"{signal.key.instrument_id} is not a known instrument"
        return RuleResult(NAME, RuleOutcome.FAILED, known, signal.key.instrument_id, message)
    if instrument.instrument_token != signal.instrument_token:
        message = f"{instrument.symbol} does not have the token {signal.instrument_token} today"
        limit = f"token {instrument.instrument_token}"
        return RuleResult(NAME, RuleOutcome.FAILED, limit, f"token {signal.instrument_token}", message)
    if not instrument.tradable:
        message = f"{instrument.symbol} can't be traded"
        return RuleResult(NAME, RuleOutcome.FAILED, "tradable", instrument.segment, message)
    if quantity % instrument.lot_size:
        message = f"{quantity} is not a multiple of the lot of {instrument.lot_size}"
        limit = f"lots of {instrument.lot_size}"
        return RuleResult(NAME, RuleOutcome.FAILED, limit, str(quantity), message)
    most = instrument.freeze_quantity * FREEZE_SLICES
    if most and quantity > most:
        message = f"{quantity} is more than {FREEZE_SLICES} freeze quantities of {instrument.freeze_quantity}"
        return only_exits_pass(check, NAME, f"<= {most}", str(quantity), message)
    return _passed(instrument.lot_size, quantity)


def largest_quantity(check: Check) -> int:
    """Whole lots, at most ten freeze quantities; 0 if the instrument isn't tradable or has a different token."""
    instrument = check.instrument
    if (
        instrument is None
        or instrument.instrument_token != check.signal.instrument_token
        or not instrument.tradable
    ):
        return 0
    quantity = min(check.quantity, instrument.freeze_quantity * FREEZE_SLICES or check.quantity)
    return quantity // instrument.lot_size * instrument.lot_size


@lru_cache(maxsize=4096)
def _passed(lot_size: int, quantity: int) -> RuleResult:
    return RuleResult(NAME, RuleOutcome.PASSED, f"lots of {lot_size}", str(quantity))


RULE = Rule(NAME, judge, largest_quantity)
