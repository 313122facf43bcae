"""What the exchanges and the broker accept: one dated table for risk, the paper exchange and Zerodha.

The table is asked about segment, product, order type, validity, phase of the day and series, and answers on every input:
accepted, refused with a sentence, or unknown. Its rules are in `data/capabilities.json`, each with how sure it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time
from enum import StrEnum
from typing import Final

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.capability_question import Phase, Question, Segment
from alphapanda.domain.errors import UnknownName
from alphapanda.domain.order import OrderType, Product, Validity
from alphapanda.domain.session import CalendarNotCovered, SessionKind, Sureness

_REMEMBERED: Final = 4096


class Can(StrEnum):
    """Whether an order is accepted."""

    YES = "accepted"
    NO = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether an order is accepted, and why not.

    Attributes:
        can: accepted, refused, or unknown.
        code: one word in capitals for what refuses it; empty where it is accepted.
        message: one sentence for a person, with what to do instead; empty where it is accepted.
        sureness: how sure the rule is; None where no rule refused it.
        source: where the rule comes from.
    """

    can: Can
    code: str = ""
    message: str = ""
    sureness: Sureness | None = None
    source: str = ""


ACCEPTED: Final = Answer(Can.YES)
"""No rule refuses it."""


@dataclass(frozen=True, slots=True)
class CapabilityRule:
    """One refusal: what matches every condition is refused from a day on. An empty condition matches everything.

    Attributes:
        answer: what it answers.
        since: first day.
        until: last day; None: it still holds.
        segments: segments.
        products: products.
        order_types: order types.
        validities: validities.
        phases: phases of the day.
        series: series.
        other_series: whether it matches all series but these.
        opens_only: whether it lets through what only closes.
        sessions_left: most trading days to the expiry; None: any.
        days_left_above: it matches where more calendar days than this are left; None: any.
    """

    answer: Answer
    since: date
    until: date | None = None
    segments: frozenset[Segment] = frozenset()
    products: frozenset[Product] = frozenset()
    order_types: frozenset[OrderType] = frozenset()
    validities: frozenset[Validity] = frozenset()
    phases: frozenset[Phase] = frozenset()
    series: frozenset[str] = frozenset()
    other_series: bool = False
    opens_only: bool = False
    sessions_left: int | None = None
    days_left_above: int | None = None

    def refuses(self, asked: Question) -> bool:
        """Whether all conditions match."""
        if asked.day < self.since or (self.until is not None and asked.day > self.until):
            return False
        if self.opens_only and not asked.opens:
            return False
        return self._is_of(asked) and self._expires(asked)

    def _is_of(self, asked: Question) -> bool:
        conditions: tuple[tuple[frozenset[object], object], ...] = (
            (self.segments, asked.segment),
            (self.products, asked.product),
            (self.order_types, asked.order_type),
            (self.validities, asked.validity),
            (self.phases, asked.phase),
        )
        if any(wanted and value not in wanted for wanted, value in conditions):
            return False
        return not self.series or (asked.series in self.series) is not self.other_series

    def _expires(self, asked: Question) -> bool:
        if self.sessions_left is not None and (
            asked.sessions_left is None or asked.sessions_left > self.sessions_left
        ):
            return False
        above = self.days_left_above
        return above is None or (asked.days_left is not None and asked.days_left > above)


@dataclass(frozen=True, slots=True)
class PhaseDay:
    """The phases outside continuous trading, of some calendar segments from a day on.

    Attributes:
        segments: segments of the trading calendar, such as "NSE_EQ_CAS".
        since: first day.
        until: last day; None: it still holds.
        windows: phase, begin and end (not included), local times of the exchange.
        stops_end: when the exchange cancels stops that were not triggered; None: with the session.
        sureness: how sure it is.
        source: where it comes from.
    """

    segments: frozenset[str]
    since: date
    until: date | None
    windows: tuple[tuple[Phase, time, time], ...]
    stops_end: time | None
    sureness: Sureness
    source: str

    def holds(self, segment: str, day: date) -> bool:
        """Whether it holds for a segment on a day."""
        return segment in self.segments and self.since <= day and (self.until is None or day <= self.until)


@dataclass(frozen=True, slots=True)
class OptionLimits:
    """How far an option's limit price may be from its last price, in percent of it."""

    since: date
    buy_above: int
    sell_below: int
    sureness: Sureness
    source: str


@dataclass(frozen=True, slots=True)
class CapabilityTable:
    """The dated table.

    Attributes:
        rules: the refusals; the first one that matches answers.
        phase_days: phases outside continuous trading.
        option_limits: how far limit prices of options may be from the last price.
    """

    rules: tuple[CapabilityRule, ...]
    phase_days: tuple[PhaseDay, ...]
    option_limits: OptionLimits
    _found: dict[Question, Answer] = field(default_factory=dict, compare=False, repr=False)

    def answer(self, asked: Question) -> Answer:
        """Whether an order is accepted."""
        found = self._found.get(asked)
        if found is None:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            found = self._found[asked] = self._answer(asked)
        return found

    def _answer(self, asked: Question) -> Answer:
        for rule in self.rules:
            if rule.refuses(asked):
                return rule.answer
        if asked.segment is Segment.UNKNOWN:
            return Answer(Can.UNKNOWN, "SEGMENT_UNKNOWN", "what may be traded in its segment isn't known")
        if asked.phase is Phase.UNKNOWN:
            return Answer(Can.UNKNOWN, "PHASE_UNKNOWN", "the exchange's hours on this day aren't known")
        return ACCEPTED

    def phase(self, instant: datetime, session_segment: str, calendar: TradingCalendar) -> Phase:
        """The phase at an aware instant; UNKNOWN where the calendar has no data."""
        try:
            if calendar.session_at(instant, session_segment) is not None:
                return Phase.CONTINUOUS
            day = calendar.trading_day(instant)
            sessions = calendar.sessions(day, session_segment)
        except (CalendarNotCovered, UnknownName):
            return Phase.UNKNOWN
        if not any(session.kind is SessionKind.REGULAR for session in sessions):
            return Phase.CLOSED
        at = instant.astimezone(sessions[0].open.tzinfo).time()
        for phases in self.phase_days:
            if phases.holds(session_segment, day):
                for phase, begins, ends in phases.windows:
                    if begins <= at < ends:
                        return phase
        return Phase.CLOSED

    def stops_end(self, day: date, session_segment: str, calendar: TradingCalendar) -> datetime | None:
        """When the exchange cancels stops that were not triggered, aware; None on a day without a session or data.

        It is the start of a closing auction, else the end of the last session (REAL_MONEY rule 15).
        """
        try:
            sessions = calendar.sessions(day, session_segment)
        except (CalendarNotCovered, UnknownName):
            return None
        if not sessions:
            return None
        return self.auction_begins(day, session_segment, calendar) or sessions[-1].close

    def auction_begins(self, day: date, session_segment: str, calendar: TradingCalendar) -> datetime | None:
        """When a day's closing auction begins, aware; None where there is none, or no data."""
        try:
            sessions = calendar.sessions(day, session_segment)
        except (CalendarNotCovered, UnknownName):
            return None
        for phases in self.phase_days if sessions else ():
            if phases.stops_end is not None and phases.holds(session_segment, day):
                close = sessions[-1].close
                return min(datetime.combine(day, phases.stops_end, tzinfo=close.tzinfo), close)
        return None
