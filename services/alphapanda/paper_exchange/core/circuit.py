"""The day's price band of an instrument at the paper exchange: nothing trades outside, and at its edges only one side finds another."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final, NamedTuple

from alphapanda.domain.order import Side
from alphapanda.domain.terms import Terms

LOCKED: Final = "the price stayed at the day's circuit limit, where nobody was on the other side"
"""The paper exchange's message when it cancels a market order that was locked."""
_WHOLE: Final = Decimal(100)


class Band(NamedTuple):
    """A day's band, rupees.

    Attributes:
        low: the lower limit: nobody buys there.
        high: the upper limit: nobody sells there.
        tick: the price grid's step.
    """

    low: Decimal
    high: Decimal
    tick: Decimal

    @classmethod
    def around(cls, price: Decimal, percent: Decimal, tick: Decimal) -> Band:
        """The band of so many percent around a price, on the grid; its limits are a step from it at least."""
        away = price * percent / _WHOLE
        low = ((price - away) / tick).to_integral_value(ROUND_CEILING) * tick
        high = ((price + away) / tick).to_integral_value(ROUND_FLOOR) * tick
        return cls(max(min(low, price - tick), tick), max(high, price + tick), tick)

    def edge(self, side: Side) -> Decimal:
        """The limit at which orders of a side are locked."""
        return self.high if side is Side.BUY else self.low

    def cap(self, side: Side) -> Decimal:
        """The worst price at which orders of a side still trade: a step inside of where they are locked."""
        return self.edge(side) - side.sign * self.tick

    def inside(self, price: Decimal) -> Decimal:
        """The price, or the limit that it is beyond."""
        return min(max(price, self.low), self.high)

    def refusal(self, terms: Terms) -> str:
        """Why an order with a limit price isn't taken, in a sentence; empty if it is."""
        limit = terms.limit_price
        if limit is None or self.low <= limit <= self.high:
            return ""
        return f"price {limit:f} exceeds the day's circuit limits, {self.low:f} to {self.high:f}"


def trades_up_to(terms: Terms, side: Side, band: Band | None) -> Decimal | None:
    """The worst price at which an order trades: its limit, or the band's; None: any."""
    limit = terms.limit_price
    if band is None:
        return limit
    cap = band.cap(side)
    if limit is None:
        return cap
    return min(limit, cap) if side is Side.BUY else max(limit, cap)
