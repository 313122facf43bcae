"""Checks the exchange's session, and the cut-off from which MIS positions may only be reduced."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache, partial

from alphapanda.domain.calendar import CalendarNotCovered, Session, TradingCalendar
from alphapanda.domain.errors import UnknownName
from alphapanda.domain.order import Product
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import Check, Rule, only_exits_pass

NAME = "market_hours"
_MIS = Product.MIS
_PASSED = RuleOutcome.PASSED


def judge(check: Check) -> RuleResult:
    """Checks market time. Outside the session nothing passes; if the hours are unknown, exits pass."""
    market_time = check.inputs.market.market_time
    if check.instrument is None:
        return RuleResult(NAME, RuleOutcome.NOT_APPLICABLE)
    if market_time is None:
        return only_exits_pass(
            check, NAME, "in session", "unknown", "the market's time is unknown", unknown=True
        )
    calendar = check.inputs.calendar
    try:
        session = calendar.session_at(market_time, check.instrument.session_segment)
    except (CalendarNotCovered, UnknownName) as why:
        return only_exits_pass(check, NAME, "in session", "unknown", str(why), unknown=True)
    if session is None:
        return _closed(market_time, calendar, check.instrument.session_segment)
    if check.signal.key.product is _MIS:
        cut_off = calendar.mis_cut_off(
            session.day, check.instrument.session_segment, check.inputs.limits.mis_cut_off
        )
        if cut_off is not None and market_time >= _in_utc(cut_off):
            at = _clock(cut_off)
            return only_exits_pass(
                check,
                NAME,
                f"before {at} IST",
                _observed(market_time, session),
                f"MIS positions may only shrink from the cut-off at {at} IST",
            )
    limit = _hours(session.open, session.close)
    return RuleResult(NAME, _PASSED, limit, partial(_observed, market_time, session))


def _observed(market_time: datetime, session: Session) -> str:
    return f"{_clock(market_time.astimezone(session.open.tzinfo))} IST"


def _closed(market_time: datetime, calendar: TradingCalendar, segment: str) -> RuleResult:
    day = calendar.trading_day(market_time)
    sessions = calendar.sessions(day, segment)
    hours = ", ".join(_hours(each.open, each.close) for each in sessions) or f"no session on {day}"
    zone = sessions[0].open.tzinfo if sessions else None
    observed = f"{_clock(market_time.astimezone(zone))} IST" if zone else str(day)
    message = f"the market is closed ({hours}), and an order for the next session (AMO) is never sent"
    return RuleResult(NAME, RuleOutcome.FAILED, hours, observed, message)


@lru_cache(maxsize=4096)
def _hours(opens: datetime, closes: datetime) -> str:
    return f"{_clock(opens)}-{_clock(closes)} IST"


def _clock(moment: datetime) -> str:
    minutes = f"{moment.hour:02}:{moment.minute:02}"
    return f"{minutes}:{moment.second:02}" if moment.second else minutes


@lru_cache(maxsize=4096)
def _in_utc(moment: datetime) -> datetime:
    """The same moment in UTC, as market time is: datetimes of one zone compare faster."""
    return moment.astimezone(UTC)


RULE = Rule(NAME, judge)
