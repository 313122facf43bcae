"""What the exchanges and the broker accept: one dated table for risk, the paper exchange and Zerodha.

The table is asked about segment, product, order type, validity, phase of the day and series, and answers on every input:
accepted, refused with a sentence, or unknown. Its rules are in `data/capabilities.json`, each with how sure it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.errors import UnknownName
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import OrderType, Product, Validity
from alphapanda.domain.price_grid import Kind, kind_of
from alphapanda.domain.session import CalendarNotCovered, SessionKind, Sureness

_ONE_DAY: Final = timedelta(days=1)
_SATURDAY: Final = 5
_REMEMBERED: Final = 4096
_MOST_SESSIONS: Final = 10
"""Sessions up to an expiry are counted only so far."""
_SERIES: Final = re.compile(r"-([A-Z][A-Z0-9])$")
"""Kite adds a series other than EQ to the symbol; a longer or shorter ending is part of the name, as in BAJAJ-AUTO."""
_CURRENCY: Final = frozenset({"CDS", "BCD"})
_COMMODITY: Final = frozenset({"MCX", "MCXSX", "NCO", "NCDEX"})
_CASH: Final = frozenset({"NSE", "BSE"})
_DERIVATIVES: Final = frozenset({"FUT", "CE", "PE"})


class Segment(StrEnum):
    """Parts of the market with rules of their own."""

    NSE_CASH = "nse_cash"
    BSE_CASH = "bse_cash"
    NSE_INDEX_FUTURES = "nse_index_futures"
    NSE_STOCK_FUTURES = "nse_stock_futures"
    NSE_INDEX_OPTIONS = "nse_index_options"
    NSE_STOCK_OPTIONS = "nse_stock_options"
    BSE_INDEX_FUTURES = "bse_index_futures"
    BSE_STOCK_FUTURES = "bse_stock_futures"
    BSE_INDEX_OPTIONS = "bse_index_options"
    BSE_STOCK_OPTIONS = "bse_stock_options"
    CURRENCY = "currency"
    COMMODITY = "commodity"
    INDEX = "index"
    UNKNOWN = "unknown"

    @property
    def is_cash(self) -> bool:
        """Whether shares are traded there."""
        return self in {Segment.NSE_CASH, Segment.BSE_CASH}

    @property
    def has_options(self) -> bool:
        """Whether options are traded there."""
        return self.value.endswith("_options")

    @property
    def of_stocks(self) -> bool:
        """Whether it has futures or options of single stocks."""
        return "_stock_" in self.value


class Phase(StrEnum):
    """Phases of an exchange's day; orders are sent in CONTINUOUS alone."""

    PRE_OPEN = "pre_open"
    PRE_OPEN_LIMIT = "pre_open_limit"
    CONTINUOUS = "continuous"
    REFERENCE_PRICE = "reference_price"
    CLOSING_AUCTION = "closing_auction"
    CLOSING_AUCTION_LIMIT = "closing_auction_limit"
    AUCTION_MATCH = "auction_match"
    AUCTION_UNKNOWN = "auction_unknown"
    POST_CLOSE = "post_close"
    CLOSED = "closed"
    UNKNOWN = "unknown"


class Can(StrEnum):
    """Whether an order is accepted."""

    YES = "accepted"
    NO = "refused"
    UNKNOWN = "unknown"


class Question(NamedTuple):
    """What the table is asked.

    Attributes:
        segment: part of the market.
        series: NSE's series, such as "EQ"; "" where there is none.
        product: how the position is held.
        order_type: how the order is priced.
        validity: how long it works.
        phase: phase of the exchange's day.
        day: the exchange's day.
        opens: whether it opens or flips a position.
        days_left: calendar days to the expiry; None if it doesn't expire.
        sessions_left: trading days after this day up to the expiry; None if it doesn't expire.
    """

    segment: Segment
    series: str
    product: Product
    order_type: OrderType
    validity: Validity
    phase: Phase
    day: date
    opens: bool = True
    days_left: int | None = None
    sessions_left: int | None = None


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
        last = sessions[-1]
        for phases in self.phase_days:
            if phases.stops_end is not None and phases.holds(session_segment, day):
                ends = datetime.combine(day, phases.stops_end, tzinfo=last.close.tzinfo)
                return min(ends, last.close)
        return last.close


def segment_of(instrument: Instrument) -> Segment:
    """The part of the market that an instrument belongs to."""
    return _segment(
        instrument.exchange,
        instrument.segment,
        instrument.instrument_type,
        kind_of(instrument),
    )


@lru_cache(maxsize=256)
def _segment(exchange: str, segment: str, instrument_type: str, kind: Kind | None) -> Segment:
    if segment == "INDICES":
        return Segment.INDEX
    if exchange in _CURRENCY:
        return Segment.CURRENCY
    if exchange in _COMMODITY:
        return Segment.COMMODITY
    if exchange in _CASH and instrument_type not in _DERIVATIVES:
        return Segment(f"{exchange.lower()}_cash")
    if kind in _DERIVATIVE_KINDS:
        return Segment(f"{'bse' if exchange in {'BFO', 'BSE'} else 'nse'}_{_DERIVATIVE_KINDS[kind]}")
    return Segment.UNKNOWN


_DERIVATIVE_KINDS: Final[Mapping[Kind | None, str]] = {
    Kind.INDEX_FUTURE: "index_futures",
    Kind.STOCK_FUTURE: "stock_futures",
    Kind.INDEX_OPTION: "index_options",
    Kind.STOCK_OPTION: "stock_options",
}


def series_of(instrument: Instrument) -> str:
    """NSE's series of a share, which Kite adds to its symbol; "EQ" where it adds none, "" for all else."""
    if instrument.exchange != "NSE" or not instrument.tradable:
        return ""
    ending = _SERIES.search(instrument.tradingsymbol)
    return ending[1] if ending else "EQ"


def sessions_left(day: date, expiry: date, calendar: TradingCalendar) -> int:
    """Trading days after a day up to an expiry, that one included; 0 on the expiry itself or after it.

    It is counted up to ten. Days that the calendar doesn't cover count as trading days from Monday to Friday.
    """
    left, one = 0, day
    while one < expiry and left < _MOST_SESSIONS:
        one += _ONE_DAY
        left += _trades(one, calendar)
    return left


def _trades(day: date, calendar: TradingCalendar) -> bool:
    try:
        return calendar.is_trading_day(day)
    except CalendarNotCovered:
        return day.weekday() < _SATURDAY


def question_of(
    instrument: Instrument,
    product: Product,
    order_type: OrderType,
    validity: Validity,
    phase: Phase,
    day: date,
    calendar: TradingCalendar,
    *,
    opens: bool,
) -> Question:
    """The question about an order in an instrument on a day."""
    expiry = instrument.expiry
    days = None if expiry is None else (expiry - day).days
    left = None if expiry is None else sessions_left(day, expiry, calendar)
    return Question(
        segment_of(instrument),
        series_of(instrument),
        product,
        order_type,
        validity,
        phase,
        day,
        opens,
        days,
        left,
    )
