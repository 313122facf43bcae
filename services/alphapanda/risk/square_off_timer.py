"""Publishes square-off signals when market time reaches the day's cut-off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

import structlog

from alphapanda.domain.market import MarketView
from alphapanda.domain.order import Product
from alphapanda.domain.signal import FOREIGN, PositionKey, Signal
from alphapanda.resilience.rounds import Rounds
from alphapanda.risk.core.square_off import earliest_cut_off, expiry_flat, open_session
from alphapanda.risk.decision_service import DecisionService, by_account
from alphapanda.risk.decision_spans import UNRECORDED, DecisionSpans
from alphapanda.risk.store.port import HeldPosition, RiskStore

Cause = Callable[[MarketView], str]
"""Returns the id of the frame whose market time a view has; empty if it isn't known."""

LATE: Final = (timedelta(minutes=2), timedelta(minutes=5))
"""After the cut-off a live broker's intraday positions are checked again so much later (REAL_MONEY rule 14)."""

_log = structlog.get_logger(__name__)


def _now() -> datetime:
    return datetime.now(tz=UTC)


class SquareOffTimer:
    """Checks market time at an interval of wall time, or when `fire_due` is called (in lockstep).

    Args:
        decisions: makes and publishes the signals.
        store: lists the positions that are held.
        brokers: the brokers; at a live one contracts are closed before they expire, too, and what isn't flat raises alarms.
        cause: returns the id of a signal's cause.
        interval_seconds: wall time between two checks.
        spans: records what is due.
        wall_clock: wall time, aware; it only tells that a live cut-off has passed while market time is unknown.

    Attributes:
        rounds: the background checks, to be started and stopped.
    """

    def __init__(
        self,
        decisions: DecisionService,
        store: RiskStore,
        brokers: Sequence[str],
        cause: Cause,
        interval_seconds: float = 0.25,
        spans: DecisionSpans = UNRECORDED,
        wall_clock: Callable[[], datetime] = _now,
    ) -> None:
        self._wall_clock = wall_clock
        self._decisions = decisions
        self._store = store
        self._brokers = tuple(brokers)
        self._cause = cause
        self._spans = spans
        self._requested: set[str] = set()
        self._day: date | None = None
        self._live = tuple(broker for broker in brokers if broker in decisions.inputs.live)
        self._overdue: set[tuple[date, PositionKey, timedelta]] = set()
        self._skip_from: datetime | None = None
        self._skip_until: datetime | None = None
        self.rounds = Rounds("square-off timer", self.fire_due, interval_seconds, _log, at_once=True)

    async def fire_due(self) -> list[Signal]:
        """Publishes the square-off signals that are due at the current market time; repeating it publishes none twice."""
        began = self._spans.began()
        market = await self._decisions.inputs.market(())
        if market.market_time is None:
            if self._live:
                self._alarm_blind(await self._store.held_intraday(self._live), self._wall_clock())
            return []
        if self.skips(market.market_time):
            return []
        held = list(await self._store.held_intraday(self._brokers))
        if self._live:
            self._alarm(held, market.market_time)
            held += self._expiring(await self._store.held_contracts(self._live), market.market_time)
        keys = [position.key for position in held]
        fired: list[Signal] = []
        for places in by_account(keys).values():
            fired += await self._decisions.demand_square_offs(
                [keys[at] for at in places], market, self._cause(market)
            )
        if not fired:
            self._skip_until_cut_off(market.market_time, held)
        self._tell_of_new(fired, self._decisions.inputs.calendar.trading_day(market.market_time), began)
        return fired

    def _expiring(self, held: Iterable[HeldPosition], market_time: datetime) -> list[HeldPosition]:
        """Those contracts that are to be closed today before they expire."""
        inputs = self._decisions.inputs
        directory = inputs.instruments()
        found = []
        for one in held:
            instrument = directory.by_id(one.key.instrument_id)
            session = None if instrument is None else open_session(inputs.calendar, market_time, instrument)
            if instrument is None or session is None:
                continue
            cut_off = inputs.limits.mis_cut_off
            if expiry_flat(instrument, inputs.calendar, session, cut_off) is not None:
                found.append(one)
        return found

    def _alarm(self, held: Iterable[HeldPosition], market_time: datetime) -> None:
        """Raises an alarm for each intraday position that a live broker shows two and five minutes after the cut-off."""
        message = "an intraday position isn't flat after the cut-off; a short that stays goes to auction"
        for key, after in self._past_cut_off(held, market_time, LATE):
            self._say_overdue(key, after, message)

    def _alarm_blind(self, held: Iterable[HeldPosition], wall_time: datetime) -> None:
        """Raises an alarm at the cut-off, and two and five minutes later, for what isn't squared off without market time."""
        message = "market time is unknown (no Redis, or no tick), so nothing is squared off: close it by hand"
        for key, after in self._past_cut_off(held, wall_time, (timedelta(), *LATE)):
            self._say_overdue(key, after, message)

    def _past_cut_off(
        self, held: Iterable[HeldPosition], now: datetime, looks: Sequence[timedelta]
    ) -> Iterator[tuple[PositionKey, timedelta]]:
        """Our intraday positions at live brokers for which a look after the cut-off is due, each look once."""
        inputs = self._decisions.inputs
        directory, day = inputs.instruments(), inputs.calendar.trading_day(now)
        if not inputs.calendar.covers(day):
            return
        for one in held:
            key = one.key
            instrument = directory.by_id(key.instrument_id)
            if key.broker not in self._live or key.strategy_id == FOREIGN or instrument is None:
                continue
            due = inputs.calendar.mis_cut_off(day, instrument.session_segment, inputs.limits.mis_cut_off)
            passed = [after for after in looks if due is not None and now >= due + after]
            if not passed or (day, key, passed[-1]) in self._overdue:
                continue
            self._overdue.update((day, key, after) for after in passed)
            yield key, passed[-1]

    def _say_overdue(self, key: PositionKey, after: timedelta, message: str) -> None:
        _log.error(
            "square_off.overdue",
            alarm=True,
            broker=key.broker,
            account=key.account,
            strategy_id=key.strategy_id,
            instrument_id=key.instrument_id,
            minutes=int(after.total_seconds() // 60),
            message=message,
        )

    def _tell_of_new(self, fired: Sequence[Signal], day: date, began: int) -> None:
        """Logs and traces each signal once: it is due until its order is open, and two rounds may find it at once."""
        if day != self._day:
            self._day = day
            self._requested.clear()
            self._overdue.clear()
        new = [signal for signal in fired if signal.signal_id not in self._requested]
        self._requested.update(signal.signal_id for signal in new)
        self._spans.square_off_due(new, began)
        for signal in new:
            _log.info(
                "square_off.requested",
                signal_id=signal.signal_id,
                broker=signal.key.broker,
                account=signal.key.account,
                strategy_id=signal.key.strategy_id,
                instrument_id=signal.key.instrument_id,
            )

    def skips(self, market_time: datetime) -> bool:
        """Whether it is known that nothing is due at this market time."""
        quiet = self._skip_from, self._skip_until
        return quiet[0] is not None and quiet[1] is not None and quiet[0] <= market_time < quiet[1]

    def _skip_until_cut_off(self, market_time: datetime, held: Sequence[HeldPosition]) -> None:
        """Skips checks until the cut-off, if no position is left from an earlier day: until then none can be due."""
        calendar = self._decisions.inputs.calendar
        today = calendar.trading_day(market_time)
        missed = any(
            one.opened_at and calendar.trading_day(one.opened_at) < today
            for one in held
            if one.key.product is Product.MIS
        )
        missed = missed or any(one.key.product is not Product.MIS for one in held)  # its time may be the open
        if not missed:
            self._skip_from = market_time
            self._skip_until = earliest_cut_off(
                market_time, calendar, self._decisions.inputs.limits.mis_cut_off
            )
