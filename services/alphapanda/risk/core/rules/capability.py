"""Refuses what the exchange or the broker would refuse by the dated capability table, at every broker (REAL_MONEY rule 3)."""

from __future__ import annotations

from alphapanda.domain.capabilities import Can
from alphapanda.domain.capability_question import Phase
from alphapanda.domain.errors import UnknownName
from alphapanda.domain.order import PositionEffect
from alphapanda.domain.order_acceptance import acceptance_of
from alphapanda.domain.session import CalendarNotCovered
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, Venue, only_exits_pass

NAME = "capability"
_PASSED = RuleResult(NAME, RuleOutcome.PASSED)
_NOT_APPLICABLE = RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)


def judge(check: Check) -> RuleResult:
    """Checks segment, product, order type, validity, series and prices, during continuous trading.

    An exit passes at MARKET; in another form that would be refused it fails, because it can be sent at MARKET.
    """
    inputs, instrument = check.inputs, check.instrument
    at = inputs.market.market_time
    if instrument is None or at is None or inputs.venue is Venue.PAPER:
        return _NOT_APPLICABLE  # the rules on the market's hours and on the instrument say so
    try:
        if inputs.calendar.session_at(at, instrument.session_segment) is None:
            return _NOT_APPLICABLE
    except (CalendarNotCovered, UnknownName):
        return _NOT_APPLICABLE
    terms, product = check.signal.terms, check.signal.key.product
    exits = check.effect is PositionEffect.REDUCES
    answer = acceptance_of(inputs.calendar).answer(
        instrument,
        check.side,
        product,
        terms,
        Phase.CONTINUOUS,
        inputs.calendar.trading_day(at),
        check.price,
        opens=not exits,
    )
    if answer.can is Can.YES:
        return _PASSED
    observed = f"{terms.order_type.name} {terms.validity.name} {product.name}"
    message = f"{instrument.symbol}: {answer.message}"
    if answer.can is Can.UNKNOWN or not exits:
        unknown = answer.can is Can.UNKNOWN
        return only_exits_pass(check, NAME, answer.code, observed, message, unknown=unknown)
    return RuleResult(NAME, RuleOutcome.FAILED, answer.code, observed, f"{message}; an exit passes at MARKET")


RULE = Rule(NAME, judge)
