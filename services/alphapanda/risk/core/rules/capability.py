"""Refuses what the exchange or the broker would refuse by the dated capability table, at every broker (REAL_MONEY rule 3)."""

from __future__ import annotations

from datetime import datetime

from alphapanda.domain.capabilities import Can
from alphapanda.domain.capability_question import Phase
from alphapanda.domain.errors import UnknownName
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import PositionEffect
from alphapanda.domain.order_acceptance import acceptance_of
from alphapanda.domain.session import CalendarNotCovered
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Inputs, Rule, Venue, only_exits_pass

NAME = "capability"
_REDUCES = PositionEffect.REDUCES
_CONTINUOUS = Phase.CONTINUOUS
_YES = Can.YES
_PAPER = Venue.PAPER
_PASSED = RuleResult(NAME, RuleOutcome.PASSED)
_NOT_APPLICABLE = RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)


def judge(check: Check) -> RuleResult:
    """Checks segment, product, order type, validity, series and prices, during continuous trading.

    An exit passes at MARKET; in another form that would be refused it fails, because it can be sent at MARKET.
    """
    terms, exits = check.signal.terms, check.effect is _REDUCES
    if exits and terms is AT_MARKET:
        return _PASSED
    at, instrument = check.inputs.market.market_time, check.instrument
    if at is None or instrument is None or not _applies(check.inputs, at, instrument):
        return _NOT_APPLICABLE
    product, calendar = check.signal.key.product, check.inputs.calendar
    answer = acceptance_of(calendar).answer(
        instrument,
        check.side,
        product,
        terms,
        _CONTINUOUS,
        calendar.trading_day(at),
        check.price,
        opens=not exits,
    )
    if answer.can is _YES:
        return _PASSED
    observed = f"{terms.order_type.name} {terms.validity.name} {product.name}"
    message = f"{instrument.symbol}: {answer.message}"
    if answer.can is Can.UNKNOWN or not exits:
        unknown = answer.can is Can.UNKNOWN
        return only_exits_pass(check, NAME, answer.code, observed, message, unknown=unknown)
    return RuleResult(NAME, RuleOutcome.FAILED, answer.code, observed, f"{message}; an exit passes at MARKET")


def _applies(inputs: Inputs, at: datetime, instrument: Instrument) -> bool:
    """Whether refusals are asked for, in a session; the rule on the market's hours says what is outside."""
    if inputs.venue is _PAPER:
        return False
    try:
        return inputs.calendar.session_at(at, instrument.session_segment) is not None
    except (CalendarNotCovered, UnknownName):
        return False


RULE = Rule(NAME, judge)
