"""Questions for the capability table: what an order in an instrument is, as far as it decides whether it is accepted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import OrderType, Product, Validity
from alphapanda.domain.price_grid import Kind, kind_of
from alphapanda.domain.session import CalendarNotCovered

_ONE_DAY: Final = timedelta(days=1)
_SATURDAY: Final = 5
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
