"""What the exchange takes of an instrument: tradable, whole lots, at most ten freeze quantities.

A MARKET order carries no price, so its tick size has nothing to say yet.
"""

from __future__ import annotations

from functools import lru_cache

from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.limits import FREEZE_SLICES

NAME = "instrument"


def judge(check: Check) -> RuleResult:
    """Exits too: the exchange itself would refuse. Only the number of slices is for entries alone."""
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


def most(check: Check) -> int:
    """Whole lots, at most ten freeze quantities; nothing of what isn't tradable, or isn't what it says it is."""
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


RULE = Rule(NAME, judge, most)
