"""Refuses entries at a live broker in what the exchange restricts, and where its list is missing or too old (REAL_MONEY rule 22)."""

from __future__ import annotations

from alphapanda.domain.capability_question import Segment, segment_of
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass
from alphapanda.risk.core.restricted import RestrictedList

NAME = "restricted"
_PASSED = RuleResult(NAME, RuleOutcome.PASSED)


def judge(check: Check) -> RuleResult:
    """Checks the list. Without one a stock's contracts are refused: whether the exchange bans them can't be known."""
    instrument, listed = check.instrument, check.inputs.restricted
    segment = segment_of(instrument) if instrument is not None else Segment.UNKNOWN
    if instrument is None or not (segment.is_cash or segment.of_stocks):
        return _PASSED
    if listed is not None:
        return _by(listed, check, instrument, segment)
    if segment.is_cash:
        return _PASSED
    message = (
        f"{instrument.symbol} may be in the F&O ban: a live account trades a stock's contracts with the exchange's list"
        " alone (zerodha.restricted_file)"
    )
    return only_exits_pass(check, NAME, "a list", "none", message)


def _by(listed: RestrictedList, check: Check, instrument: Instrument, segment: Segment) -> RuleResult:
    """Checks a share, or a contract on one, by the list."""
    at, limit, observed = (
        check.inputs.market.market_time,
        f"at most {listed.most_days} days old",
        f"of {listed.as_of}",
    )
    if at is None:
        return only_exits_pass(check, NAME, limit, observed, "the market's day is unknown", unknown=True)
    if listed.is_outdated(check.inputs.calendar.trading_day(at)):
        message = (
            f"the list of restricted instruments is of {listed.as_of}, more than {listed.most_days} days old"
        )
        return only_exits_pass(check, NAME, limit, observed, message)
    found = listed.restriction(instrument, segment, check.signal.key.product)
    if found is None:
        return _PASSED
    message = f"{found.symbol} is on the exchange's list {found.list_name!r}, which refuses {found.refuses}"
    return only_exits_pass(check, NAME, "not restricted", found.list_name, message)


RULE = Rule(NAME, judge, only_live=True)
