"""Raises an alarm for live positions whose stop the exchange is about to cancel, because a closing auction begins (REAL_MONEY rule 15)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Final

import structlog

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.capability_data import load_capabilities
from alphapanda.resilience.rounds import Rounds
from alphapanda.trading.core.protection_record import ProtectionState
from alphapanda.trading.execution_context import ExecutionContext

BEFORE: Final = timedelta(minutes=5)
"""The alarm comes so long before the auction, while continuous trading still closes a position."""

_log = structlog.get_logger(__name__)


class ClosingAuctionWatch:
    """Looks for protected positions that will be without a stop in the closing auction.

    Args:
        context: store, market and clocks.
        calendar: sessions.
        live: brokers whose orders reach a real exchange.
        interval_seconds: wall time between two looks.

    Attributes:
        rounds: the looks, to be started and stopped.
    """

    def __init__(
        self,
        context: ExecutionContext,
        calendar: TradingCalendar,
        live: Collection[str],
        interval_seconds: float = 15.0,
    ) -> None:
        self._context = context
        self._calendar = calendar
        self._live = frozenset(live)
        self._table = load_capabilities()
        self._day: date | None = None
        self._told: set[str] = set()
        self.rounds = Rounds("closing auction", self.look, interval_seconds, _log)

    async def look(self) -> None:
        """Raises the alarms that are due, each once a day; the database is asked in the minutes before an auction alone.

        Raises:
            Redis' and the database's errors; call it again.
        """
        at = await self._context.market_time() if self._live else None
        if at is None or not any(self._is_near(at, segment) for segment in self._calendar.segments):
            return
        day = self._calendar.trading_day(at)
        if day != self._day:
            self._day = day
            self._told.clear()
        directory = self._context.instruments()
        live = await self._context.store.protections.live(self._context.wall_clock())
        for record in (record for records in live.values() for record in records):
            key = record.key
            instrument = directory.by_id(key.instrument_id)
            if (
                key.broker not in self._live
                or instrument is None
                or record.state is not ProtectionState.ACTIVE
            ):
                continue
            if record.protection_id in self._told or not self._is_near(at, instrument.session_segment):
                continue
            self._told.add(record.protection_id)
            _log.error(
                "protection.stop_ends",
                alarm=True,
                broker=key.broker,
                account=key.account,
                strategy_id=key.strategy_id,
                instrument_id=key.instrument_id,
                message="the exchange cancels the stop when the closing auction begins: close the position, or hold it without",
            )

    def _is_near(self, at: datetime, session_segment: str) -> bool:
        """Whether a closing auction begins within the next minutes."""
        begins = self._table.auction_begins(self._calendar.trading_day(at), session_segment, self._calendar)
        return begins is not None and begins - BEFORE <= at < begins
