"""Counters of the exchange's day, for an account or for one strategy in it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from alphapanda.domain.money import ZERO

WHOLE_ACCOUNT = ""
"""In place of a strategy's id: the counters are those of the whole account."""


class DayCounters(Struct, frozen=True, gc=False):
    """Counters of one day of the exchange.

    Attributes:
        day: the exchange's day, in Asia/Kolkata.
        trades: approved orders that have filled or may still fill.
        realised: rupees realised by closing fills, before charges.
        tripped: why the account may only reduce for the rest of the day; empty if it may trade.
        recent: market times of the last approved orders, oldest first; only kept while an order rate is limited.
        charges: rupees of the fills' commissions, 0 or more.
    """

    day: date
    trades: int = 0
    realised: Decimal = ZERO
    tripped: str = ""
    recent: tuple[datetime, ...] = ()
    charges: Decimal = ZERO

    def with_order(self, at: datetime | None, remembered: timedelta | None) -> DayCounters:
        """The counters after an order was approved.

        Args:
            at: market time; None if it is unknown.
            remembered: window of the order rate; None if no rate is limited.
        """
        recent = self.recent
        if at is not None and remembered is not None:
            recent = (*(one for one in recent if at - one < remembered), at)
        elif recent:
            recent = ()
        return DayCounters(self.day, self.trades + 1, self.realised, self.tripped, recent, self.charges)

    def with_outcome(self, realised: Decimal, trades: int, charges: Decimal = ZERO) -> DayCounters:
        """The counters after an order event.

        Args:
            realised: rupees that it realised.
            trades: -1 if its order ended without a fill, +1 if the first fill came after that, else 0.
            charges: rupees that it cost.
        """
        trades = max(0, self.trades + trades)
        return DayCounters(
            self.day, trades, self.realised + realised, self.tripped, self.recent, self.charges + charges
        )

    def with_trip(self, why: str) -> DayCounters:
        """The counters after the daily loss has reached its limit."""
        return DayCounters(self.day, self.trades, self.realised, why, self.recent, self.charges)

    def within(self, window: timedelta, now: datetime) -> int:
        """The number of orders approved in the window that ends now; an order exactly one window ago is not counted."""
        return sum(1 for at in self.recent if now - at < window)
