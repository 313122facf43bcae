"""The timer that demands square-offs once market time reaches the day's cut-off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

import structlog

from alphapanda.domain.market import MarketView
from alphapanda.domain.signal import Signal
from alphapanda.eventlog.failures import in_one_line, is_transient
from alphapanda.risk.core.square_off import earliest_cut_off
from alphapanda.risk.desk import RiskDesk, by_account
from alphapanda.risk.store.port import HeldPosition, RiskStore

Cause = Callable[[MarketView], str]
"""Id of the frame whose market time a view shows; empty where it isn't known."""

_log = structlog.get_logger(__name__)


class SquareOffTimer:
    """Looks at the market's clock on an interval of wall time, or when `fire_due` is called (lockstep).

    Args:
        desk: makes the demands.
        store: knows which positions are held.
        brokers: simulated ones; a live broker squares off itself.
        cause: what a demand is caused by.
        interval_seconds: wall time between two looks.
    """

    def __init__(
        self,
        desk: RiskDesk,
        store: RiskStore,
        brokers: Sequence[str],
        cause: Cause,
        interval_seconds: float = 0.25,
    ) -> None:
        self._desk = desk
        self._store = store
        self._brokers = tuple(brokers)
        self._cause = cause
        self._interval = interval_seconds
        self._logged: set[str] = set()
        self._quiet_from: datetime | None = None
        self._quiet_until: datetime | None = None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def failure(self) -> BaseException | None:
        """Why it no longer looks; None while it does, or was never started."""
        ended = self._task is not None and self._task.done() and not self._task.cancelled()
        return self._task.exception() if ended and self._task else None

    async def start(self) -> None:
        """Begins to look."""
        self._task = asyncio.create_task(self._look(), name="square-off timer")

    async def stop(self) -> None:
        """Looks no more; what is being demanded is stored first. Not by cancelling: the Redis client may swallow that."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def fire_due(self) -> list[Signal]:
        """Publishes what is due at the market time of now, through the outbox; again and again has one effect."""
        market = await self._desk.market(())
        if market.market_time is None or self._nothing_can_be_due(market.market_time):
            return []
        held = await self._store.held_intraday(self._brokers)
        keys = [position.key for position in held]
        fired: list[Signal] = []
        for places in by_account(keys).values():
            fired += await self._desk.demand_square_offs(
                [keys[at] for at in places], market, self._cause(market)
            )
        if not fired:
            self._be_quiet_until_the_cut_off(market.market_time, held)
        self._log_new(fired)
        return fired

    def _log_new(self, fired: Sequence[Signal]) -> None:
        for signal in fired:
            if signal.signal_id not in self._logged:
                _log.info(
                    "square-off due",
                    signal_id=signal.signal_id,
                    broker=signal.key.broker,
                    account=signal.key.account,
                    strategy_id=signal.key.strategy_id,
                    instrument_id=signal.key.instrument_id,
                )
        self._logged = {signal.signal_id for signal in fired}

    def _nothing_can_be_due(self, market_time: datetime) -> bool:
        quiet = self._quiet_from, self._quiet_until
        return quiet[0] is not None and quiet[1] is not None and quiet[0] <= market_time < quiet[1]

    def _be_quiet_until_the_cut_off(self, market_time: datetime, held: Sequence[HeldPosition]) -> None:
        """What was opened today, or is from now on, is due at this day's cut-off at the earliest."""
        calendar = self._desk.calendar
        today = calendar.trading_day(market_time)
        missed = any(one.opened_at and calendar.trading_day(one.opened_at) < today for one in held)
        if not missed:
            self._quiet_from = market_time
            self._quiet_until = earliest_cut_off(market_time, calendar, self._desk.limits.mis_cut_off)

    async def _look(self) -> None:
        while not self._stopping.is_set():
            await self._fire_or_wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._interval)

    async def _fire_or_wait(self) -> None:
        try:
            await self.fire_due()
        except Exception as error:
            if is_transient(error):
                _log.warning("square-offs wait", error=in_one_line(error))
                return
            _log.exception("the square-off timer ends")
            raise
