"""Publishes square-off signals when market time reaches the day's cut-off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime

import structlog

from alphapanda.domain.market import MarketView
from alphapanda.domain.signal import Signal
from alphapanda.resilience.rounds import Rounds
from alphapanda.risk.core.square_off import earliest_cut_off
from alphapanda.risk.decision_service import DecisionService, by_account
from alphapanda.risk.decision_spans import UNRECORDED, DecisionSpans
from alphapanda.risk.store.port import HeldPosition, RiskStore

Cause = Callable[[MarketView], str]
"""Returns the id of the frame whose market time a view has; empty if it isn't known."""

_log = structlog.get_logger(__name__)


class SquareOffTimer:
    """Checks market time at an interval of wall time, or when `fire_due` is called (in lockstep).

    Args:
        decisions: makes and publishes the signals.
        store: lists the positions that are held.
        brokers: simulated brokers; a live broker squares off itself.
        cause: returns the id of a signal's cause.
        interval_seconds: wall time between two checks.
        spans: records what is due.

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
    ) -> None:
        self._decisions = decisions
        self._store = store
        self._brokers = tuple(brokers)
        self._cause = cause
        self._spans = spans
        self._requested: set[str] = set()
        self._day: date | None = None
        self._skip_from: datetime | None = None
        self._skip_until: datetime | None = None
        self.rounds = Rounds("square-off timer", self.fire_due, interval_seconds, _log, at_once=True)

    async def fire_due(self) -> list[Signal]:
        """Publishes the square-off signals that are due at the current market time; repeating it publishes none twice."""
        began = self._spans.began()
        market = await self._decisions.inputs.market(())
        if market.market_time is None or self.skips(market.market_time):
            return []
        held = await self._store.held_intraday(self._brokers)
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

    def _tell_of_new(self, fired: Sequence[Signal], day: date, began: int) -> None:
        """Logs and traces each signal once: it is due until its order is open, and two rounds may find it at once."""
        if day != self._day:
            self._day = day
            self._requested.clear()
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
        missed = any(one.opened_at and calendar.trading_day(one.opened_at) < today for one in held)
        if not missed:
            self._skip_from = market_time
            self._skip_until = earliest_cut_off(
                market_time, calendar, self._decisions.inputs.limits.mis_cut_off
            )
