"""What an account, or one strategy in it, has done in the exchange's day."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from alphapanda.domain.money import ZERO

WHOLE_ACCOUNT = ""
"""In place of a strategy's id where counters are the account's."""


class DayCounters(Struct, frozen=True):
    """Counters that end with their day.

    Attributes:
        day: the exchange's, in Asia/Kolkata.
        trades: orders let through that have filled or still may.
        realised: rupees that closing fills made, before charges.
        tripped: why the account only reduces for the rest of the day; empty where it doesn't.
        recent: market times of the last orders let through, oldest first; only kept while a rate is limited.
    """

    day: date
    trades: int = 0
    realised: Decimal = ZERO
    tripped: str = ""
    recent: tuple[datetime, ...] = ()

    def with_order(self, at: datetime | None, remembered: timedelta | None) -> DayCounters:
        """After an order was let through.

        Args:
            at: market time; None where it is unknown.
            remembered: window of the order rate; None where no rate is limited.
        """
        recent = self.recent
        if at is not None and remembered is not None:
            recent = (*(one for one in recent if at - one < remembered), at)
        elif recent:
            recent = ()
        return DayCounters(self.day, self.trades + 1, self.realised, self.tripped, recent)

    def with_outcome(self, gained: Decimal, *, unfilled: bool) -> DayCounters:
        """After an order event that realised `gained`; `unfilled` where an order ended without a fill."""
        trades = max(0, self.trades - 1) if unfilled else self.trades
        return DayCounters(self.day, trades, self.realised + gained, self.tripped, self.recent)

    def with_trip(self, why: str) -> DayCounters:
        """After the day's loss reached its limit."""
        return DayCounters(self.day, self.trades, self.realised, why, self.recent)

    def within(self, window: timedelta, now: datetime) -> int:
        """Orders let through in the window that ends now; an order exactly a window ago is out of it."""
        return sum(1 for at in self.recent if now - at < window)
