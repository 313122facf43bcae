"""Equity after every tick, and its drawdown from the peak. Integers only, one multiplication per tick."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import lcm

from alphapanda.portfolio.core.book import Booking

_LEDGER_SCALE = 10_000


class EquityTracker:
    """Tracks one account's equity (cash + market value) and drawdown, after every tick and every fill.

    Drawdown isn't measured while a held instrument has no price.

    Args:
        cash: starting cash in rupees; no positions are held yet.
        price_scale: price units in one rupee, as in the frames.
    """

    def __init__(self, cash: Decimal, price_scale: int) -> None:
        self._price_scale = price_scale
        self._scale = lcm(price_scale, _LEDGER_SCALE)
        self._factor = self._scale // price_scale
        self._equity = int(cash * self._scale)
        self._peak = self._trough = self._equity
        self._drop = 0
        self._worst, self._worst_peak = 0, 1
        # Held quantity by token, as signed units x factor; times a price it is market value in the tracker's scale.
        self._units: dict[int, int] = {}
        self._price: dict[int, int] = {}
        self._unpriced: set[int] = set()

    def mark(self, token: int, price: int) -> None:
        """Applies a tick; `price` in 1/price_scale rupees."""
        last = self._price
        if token not in self._units:
            last[token] = price
            return
        before = last.get(token)
        if price == before:
            return
        last[token] = price
        if before is None:
            self._unpriced.discard(token)
            before = 0
        self._equity = equity = self._equity + self._units[token] * (price - before)
        # Between peak and trough, neither of them changes.
        if not self._trough <= equity <= self._peak:
            self._measure()

    def marks_of(self, token: int, prices: Sequence[int]) -> None:
        """Applies ticks of one instrument, at least one, with the same result as `mark` for each.

        If none of them makes a new peak, only the lowest equity among them matters.
        """
        units, before, equity = self._units.get(token), self._price.get(token), self._equity
        if units is None:
            self._price[token] = prices[-1]
            return
        if before is None or self._unpriced:
            for price in prices:
                self.mark(token, price)
            return
        highest, lowest = max(prices), min(prices)
        if units < 0:
            highest, lowest = lowest, highest
        if equity + units * (highest - before) > self._peak:
            for price in prices:
                self._equity = equity = equity + units * (price - before)
                before = price
                if not self._trough <= equity <= self._peak:
                    self._measure()
            self._price[token] = before
            return
        self._equity = equity + units * (lowest - before)
        if self._equity < self._trough:
            self._measure()
        self._equity = equity + units * (prices[-1] - before)
        self._price[token] = prices[-1]

    def booked(self, booking: Booking) -> None:
        """Applies a booked fill."""
        order = booking.filled.order
        token = order.instrument_token
        delta = order.side.sign * booking.filled.fill.quantity * self._factor
        units = self._units.get(token, 0) + delta
        if units:
            self._units[token] = units
        else:
            self._units.pop(token, None)
        self._equity += int(booking.cash_change * self._scale)
        price = self._price.get(token)
        if price is not None:
            self._equity += delta * price
        elif units:
            self._unpriced.add(token)
        else:
            self._unpriced.discard(token)
        self._measure()

    def _measure(self) -> None:
        if self._unpriced:
            return
        equity, peak = self._equity, self._peak
        if equity >= peak:
            self._peak = self._trough = equity
            return
        if equity >= self._trough:
            return
        self._trough = equity
        drop = peak - equity
        self._drop = max(self._drop, drop)
        if drop * self._worst_peak > self._worst * peak:
            self._worst, self._worst_peak = drop, peak

    @property
    def equity(self) -> Decimal | None:
        """Equity in rupees; None while a held instrument has no price."""
        return None if self._unpriced else Decimal(self._equity) / self._scale

    @property
    def max_drawdown(self) -> Decimal:
        """The largest fall from a peak, rupees, 0 or more."""
        return Decimal(self._drop) / self._scale

    @property
    def max_drawdown_fraction(self) -> Decimal:
        """The largest relative fall, as a fraction of its peak, six decimals; it may be another fall than max_drawdown."""
        return (Decimal(self._worst) / self._worst_peak).quantize(Decimal("0.000001"))

    def last_price(self, token: int) -> Decimal | None:
        """Last price of an instrument, rupees; None if there was none."""
        price = self._price.get(token)
        return None if price is None else Decimal(price) / self._price_scale
