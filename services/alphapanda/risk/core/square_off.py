"""Makes the square-off signals that close MIS positions from the day's cut-off on.

At a live broker they also close futures and options before they expire (REAL_MONEY rules 14 and 19): those of stocks on the session
before their last, which ends in physical delivery, those of indices on the last, before their settlement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, time, timedelta
from operator import attrgetter

from alphapanda.domain import ids
from alphapanda.domain.calendar import CalendarNotCovered, Session, TradingCalendar
from alphapanda.domain.capability_question import segment_of, sessions_left
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import Product
from alphapanda.domain.session import mis_cut_off
from alphapanda.domain.signal import FOREIGN, PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.risk.core.position import PositionState, is_square_off

INDEX_FLAT = time(15, 10)
"""Local time of the exchange from which contracts on an index that expire today are closed."""
SIGNAL_INTERVAL = timedelta(minutes=1)
"""Market time after which a position that isn't flat yet gets a new square-off signal."""


def due_square_offs(
    states: Iterable[PositionState],
    *,
    market_time: datetime,
    calendar: TradingCalendar,
    instruments: InstrumentDirectory,
    cut_off: time,
    brokers: Collection[str],
    cause: str,
    live: Collection[str] = (),
) -> list[Signal]:
    """The square-off signals that are due, one for each position, sorted by position key.

    A MIS position is due from the cut-off of the day on which it was opened; a position that was missed is due in the next
    session. Signals are made while a session is open, and a new one every SIGNAL_INTERVAL until the position is flat. A
    repeated call within that time makes the same signals with the same ids.

    Args:
        states: positions; flat ones, other products and other brokers are ignored.
        market_time: current market time.
        calendar: the exchange's sessions.
        instruments: today's instruments, for tokens.
        cut_off: the exchange's local time of the cut-off.
        brokers: brokers whose positions are squared off here.
        cause: id of the event whose market time made them due; empty if there is none.
        live: those of them whose orders reach a real exchange.
    """
    signals = []
    for state in states:
        if not _may_be_due(state, brokers, live):
            continue
        instrument = instruments.by_id(state.key.instrument_id)
        session = open_session(calendar, market_time, instrument)
        if instrument is None or session is None:
            continue
        if state.key.product is Product.MIS:
            due = _due(state, calendar, session, instrument.session_segment, cut_off)
            reason = "MIS square-off"
        else:
            due = expiry_flat(instrument, calendar, session, cut_off)
            reason = f"square-off before it expires on {instrument.expiry}"
        if due is None or market_time < due:
            continue
        due += (market_time - due) // SIGNAL_INTERVAL * SIGNAL_INTERVAL
        signals.append(_square_off(state.key, instrument, session, market_time, due, cause, reason))
    return sorted(
        signals, key=attrgetter("key.broker", "key.account", "key.strategy_id", "key.instrument_id")
    )


def earliest_cut_off(market_time: datetime, calendar: TradingCalendar, cut_off: time) -> datetime | None:
    """The earliest cut-off of the market's day, over all segments; None on a day without a session."""
    day = calendar.trading_day(market_time)
    if not calendar.covers(day):
        return None
    moments = (calendar.mis_cut_off(day, segment, cut_off) for segment in calendar.segments)
    return min((moment for moment in moments if moment is not None), default=None)


def expiry_flat(
    instrument: Instrument, calendar: TradingCalendar, session: Session, cut_off: time
) -> datetime | None:
    """When a live broker's position in a contract is closed before it expires; None: not in this session.

    Args:
        instrument: the contract; None comes back for anything that doesn't expire.
        calendar: the exchange's sessions.
        session: the session that is open.
        cut_off: the exchange's local time of the cut-off.
    """
    expiry = instrument.expiry
    if expiry is None or expiry < session.day:
        return None
    left = sessions_left(session.day, expiry, calendar)
    if not segment_of(instrument).of_stocks:
        return None if left else mis_cut_off(session, INDEX_FLAT)
    if left == 0:  # it was missed in the session before
        return session.open
    return mis_cut_off(session, cut_off) if left == 1 else None


def _may_be_due(state: PositionState, brokers: Collection[str], live: Collection[str]) -> bool:
    key = state.key
    if not state.quantity or key.broker not in brokers or key.strategy_id == FOREIGN:
        return False
    if key.product is not Product.MIS and (key.product is not Product.NRML or key.broker not in live):
        return False
    if state.waiting is not None and is_square_off(state.waiting):
        return False
    return state.open is None or state.quantity + state.open.on_its_way != 0


def open_session(
    calendar: TradingCalendar, market_time: datetime, instrument: Instrument | None
) -> Session | None:
    """The session of an instrument that is open at a market time; None if none is known to be."""
    if instrument is None:
        return None
    try:
        return calendar.session_at(market_time, instrument.session_segment)
    except CalendarNotCovered:
        return None


def _due(
    state: PositionState, calendar: TradingCalendar, session: Session, segment: str, cut_off: time
) -> datetime | None:
    day = session.day
    if state.opened_at is not None and calendar.covers(opened := calendar.trading_day(state.opened_at)):
        day = min(day, opened)
    due = calendar.mis_cut_off(day, segment, cut_off)
    return calendar.mis_cut_off(session.day, segment, cut_off) if due is None else due


def _square_off(
    key: PositionKey,
    instrument: Instrument,
    session: Session,
    market_time: datetime,
    due: datetime,
    cause: str,
    reason: str,
) -> Signal:
    whose = f"{key.broker}:{key.account}:{key.strategy_id}:{key.instrument_id}:{key.product.name}"
    signal_id = ids.timer_id(whose, "square_off", due)
    return Signal(
        signal_id=signal_id,
        correlation_id=cause or signal_id,
        causation_id=cause,
        key=key,
        instrument_token=instrument.instrument_token,
        config_revision=0,
        target=0,
        side=None,
        quantity=None,
        terms=AT_MARKET,
        market_time=market_time,
        valid_until=session.close,
        reason=reason,
    )
