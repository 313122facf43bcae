"""Refuses intraday short entries at a live broker in shares that may be locked at an upper circuit (REAL_MONEY rule 14).

A short that can't be covered before the close goes to the exchange's auction. Circuits are in no feed of ours, so the nearness
of one can't be measured: shares without derivatives, which have a fixed circuit, take no intraday short. Those with
derivatives have none.
"""

from __future__ import annotations

from alphapanda.domain.capability_question import segment_of
from alphapanda.domain.order import Product
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass

NAME = "intraday_short"
_PASSED = RuleResult(NAME, RuleOutcome.PASSED)
_WITH_DERIVATIVES = "_CAS"
"""Ending of the calendar's segments of shares with derivatives."""


def judge(check: Check) -> RuleResult:
    """Checks the position after the order."""
    instrument = check.instrument
    if check.signal.key.product is not Product.MIS or check.position_after >= 0 or instrument is None:
        return _PASSED
    if not segment_of(instrument).is_cash or instrument.session_segment.endswith(_WITH_DERIVATIVES):
        return _PASSED
    message = (
        f"{instrument.symbol} has no derivatives, so it may be locked at its upper circuit, where an intraday short"
        " can't be covered; its circuit isn't known here"
    )
    return only_exits_pass(check, NAME, "no circuit", "unknown", message)


RULE = Rule(NAME, judge, only_live=True)
