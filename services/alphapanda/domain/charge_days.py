"""A day's charges as Zerodha's contract note has them: what a fill's own lines become when the day's fills are added up.

- **Rounding**: STT and stamp duty are whole rupees, every other line whole paise, halves up, of the day's exact sum for a
  scrip. A fill books what its line adds to that rounded sum.
- **Delivery that became intraday**: CNC units bought and sold on one day are charged as intraday. The fill that closes
  them books the difference for both sides, first in first out; brokerage is capped per order.
- **DP charges**: once for each scrip and day of an account on which holdings were sold; taken back where they are bought
  again on that day.

Sums are those of one position key, so that a strategy's charges don't depend on the fills of others; DP charges are the
account's, paid by the strategy whose sale was booked first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from alphapanda.domain.charge_rates import (
    DP,
    LINEAR,
    UNITS,
    ChargeRates,
    ChargeSegment,
    ChargeSheet,
    Sureness,
    load_charge_rates,
)
from alphapanda.domain.charges import NO_CHARGES, PAISA_UNITS, Charges, merged, turnover_of
from alphapanda.domain.frame import EPOCH
from alphapanda.domain.order import Product, Side
from alphapanda.domain.order_events import Filled
from alphapanda.domain.signal import PositionKey

_IST: Final = timedelta(hours=5, minutes=30)
_DAY: Final = timedelta(days=1)
_ROUNDED_TO: Final = {"stt": UNITS, "stamp_duty": UNITS}
_CASH: Final = ("NSE", "BSE")
_EXCHANGE, _SEBI = LINEAR.index("exchange_transaction"), LINEAR.index("sebi")


Heads = tuple[tuple[str, Sureness], ...]


class OpenTrade(NamedTuple):
    """Delivered units of a fill that no trade of the other side has closed today: `price` in PRICE_UNITS a unit."""

    order_id: str
    side: Side
    quantity: int
    price: int


@dataclass(slots=True)
class ChargeDay:
    """The charges of one position key on one day.

    Attributes:
        day: number of the day in India since 1970-01-01.
        heads: name and least sure rate of each line so far.
        accrued: exact sums in UNITS, in the order of `heads`.
        booked: what was booked of them, in UNITS.
        open: delivered units that may still become intraday, oldest first; all of one side.
        intraday: turnover by order that has become intraday, in PRICE_UNITS; of the orders in `open` and the last one.
        dp: UNITS of DP charges paid.
    """

    day: int
    heads: Heads = ()
    accrued: list[int] = field(default_factory=list)
    booked: list[int] = field(default_factory=list)
    open: list[OpenTrade] = field(default_factory=list)
    intraday: dict[str, int] = field(default_factory=dict)
    dp: int = 0
    _to: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Finds what each line is rounded to."""
        self._to = _roundings(self.heads)

    @property
    def sells_holdings(self) -> bool:
        """Whether more was sold than bought today."""
        return bool(self.open) and self.open[0].side is Side.SELL

    @property
    def all_booked(self) -> Charges:
        """What was booked so far."""
        return Charges(self.heads, tuple(self.booked))

    def add(self, charges: Charges) -> None:
        """Adds a fill's own lines to the exact sums."""
        units = charges.units if charges.heads is self.heads else self._aligned(charges)
        accrued = self.accrued
        for at, more in enumerate(units):
            if more:
                accrued[at] += more

    def settle(self) -> Charges:
        """Books what the sums, rounded as the contract note does, are beyond what was booked; returns its lines."""
        amounts = []
        booked = self.booked
        for at, (unit, units) in enumerate(zip(self._to, self.accrued, strict=True)):
            due = units + unit // 2
            due -= due % unit
            amounts.append(due - booked[at])
            booked[at] = due
        return Charges(self.heads, tuple(amounts))

    def _aligned(self, charges: Charges) -> Sequence[int]:
        """The units of charges in the order of `heads`, which gets the names that it lacks."""
        if not self.heads:
            self.heads = charges.heads
            self.accrued, self.booked = [0] * len(self.heads), [0] * len(self.heads)
            self._to = _roundings(self.heads)
            return charges.units
        known = {name: at for at, (name, _) in enumerate(self.heads)}
        heads = list(self.heads)
        for (name, sureness), amount in zip(charges.heads, charges.units, strict=True):
            if not amount:
                continue
            at = known.setdefault(name, len(heads))
            if at == len(heads):
                heads.append((name, sureness))
                self.accrued.append(0)
                self.booked.append(0)
                self._to.append(_ROUNDED_TO.get(name, PAISA_UNITS))
            elif heads[at][1] < sureness:
                heads[at] = (name, sureness)
        if (same := tuple(heads)) != self.heads:
            self.heads = same
        units = [0] * len(heads)
        for (name, _), amount in zip(charges.heads, charges.units, strict=True):
            if amount:
                units[known[name]] += amount
        return units

    def match(self, trade: OpenTrade, delivery: ChargeSheet, intraday: ChargeSheet) -> None:
        """Closes open units of the other side with a trade, and charges both as intraday; the rest of it stays open."""
        left = trade.quantity
        while left and self.open and self.open[0].side is not trade.side:
            oldest = self.open[0]
            units = min(left, oldest.quantity)
            for closed in (oldest, trade):
                self._becomes_intraday(closed, units * closed.price, delivery, intraday)
            left -= units
            if units == oldest.quantity:
                del self.open[0]
            else:
                self.open[0] = oldest._replace(quantity=oldest.quantity - units)
        if left:
            self.open.append(trade._replace(quantity=left))
        wanted = {trade.order_id, *(each.order_id for each in self.open)}
        self.intraday = {order_id: done for order_id, done in self.intraday.items() if order_id in wanted}

    def _becomes_intraday(
        self, trade: OpenTrade, turnover: int, delivery: ChargeSheet, intraday: ChargeSheet
    ) -> None:
        before = self.intraday.get(trade.order_id, 0)
        after = self.intraday[trade.order_id] = before + turnover
        brokerage = intraday.brokerage(after) - intraday.brokerage(before)
        buys = trade.side is Side.BUY
        rates = zip(
            intraday.buy if buys else intraday.sell, delivery.buy if buys else delivery.sell, strict=True
        )
        linear = [(now - then) * turnover for now, then in rates]
        gst = (brokerage + linear[_EXCHANGE] + linear[_SEBI]) // 100 * intraday.gst
        self.add(Charges(intraday.heads, (brokerage, *linear, gst)))


class ChargeDays:
    """The days of an account's position keys, newest only.

    Args:
        days: by position key.
        dp_payers: (day, strategy) that last paid DP charges, by instrument_id; the strategy is empty where nothing is due.
        rates: of charges; None: the shipped ones, loaded when first needed.

    Attributes:
        days: by position key.
        dp_payers: as above.
        changed: instruments whose payer has changed.
    """

    def __init__(
        self,
        days: Mapping[PositionKey, ChargeDay] | None = None,
        dp_payers: Mapping[str, tuple[int, str]] | None = None,
        rates: ChargeRates | None = None,
    ) -> None:
        self.days: MutableMapping[PositionKey, ChargeDay] = dict(days or {})
        self.dp_payers = dict(dp_payers or {})
        self.changed: set[str] = set()
        self._rates = rates
        self._past: dict[str, Charges] = {}
        self._begins = self._ends = EPOCH
        self._today = 0

    def book(self, filled: Filled) -> Charges:
        """The lines that a fill books, rounded; none for a fill whose commission has no lines."""
        order, fill = filled.order, filled.fill
        if not fill.charges:
            return NO_CHARGES
        if not self._begins <= fill.traded_at < self._ends:
            self._today = (fill.traded_at + _IST - EPOCH) // _DAY
            self._begins = EPOCH + self._today * _DAY - _IST
            self._ends = self._begins + _DAY
        key = order.key
        day = self.days.get(key)
        if day is None or day.day != self._today:
            if day is not None:
                self._close(key, day)
            day = self.days[key] = ChargeDay(self._today)
        day.add(fill.charges)
        if key.product is not Product.MIS and key.instrument_id.partition(":")[0] in _CASH:
            self._deliver(day, filled)
        return day.settle()

    def by_strategy(self) -> dict[str, Charges]:
        """What was booked in all, by strategy. For books kept from the opening on."""
        found = dict(self._past)
        for key, day in self.days.items():
            found[key.strategy_id] = merged([found.get(key.strategy_id, NO_CHARGES), day.all_booked])
        return found

    def _close(self, key: PositionKey, day: ChargeDay) -> None:
        self._past[key.strategy_id] = merged([self._past.get(key.strategy_id, NO_CHARGES), day.all_booked])

    def _deliver(self, day: ChargeDay, filled: Filled) -> None:
        order, fill, key = filled.order, filled.fill, filled.order.key
        rates = self._rates or _shipped()
        exchange = key.instrument_id.partition(":")[0]
        date_ = date.fromordinal(_EPOCH_ORDINAL + self._today)
        # A real fill of a day without rates has no lines: its broker refused to guess them. So this one is simulated.
        delivery, intraday = (
            rates.sheet(date_, exchange, segment, fall_back=True)
            for segment in (ChargeSegment.EQ_DELIVERY, ChargeSegment.EQ_INTRADAY)
        )
        trade = OpenTrade(order.order_id, order.side, fill.quantity, turnover_of(1, fill.price))
        day.match(trade, delivery, intraday)
        rupees, sureness = rates.dp(date_, fall_back=True)
        if delivery.assumed:
            sureness = Sureness.ASSUMED
        paid = self._dp(key, day, int(rupees * UNITS))
        if paid:
            day.dp += paid
            day.add(Charges(((DP, sureness),), (paid,)))

    def _dp(self, key: PositionKey, day: ChargeDay, amount: int) -> int:
        """What is to be paid, or taken back, of the DP charges of a scrip and day."""
        instrument_id = key.instrument_id
        of_day, payer = self.dp_payers.get(instrument_id, (day.day, ""))
        if of_day != day.day:
            payer = ""
        paid = 0
        if day.sells_holdings and not payer:
            payer, paid = key.strategy_id, amount
        elif day.dp and not day.sells_holdings:
            payer, paid = "", -day.dp
        if paid:
            self.dp_payers[instrument_id] = (day.day, payer)
            self.changed.add(instrument_id)
        return paid


_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


def _roundings(heads: Heads) -> list[int]:
    return [_ROUNDED_TO.get(name, PAISA_UNITS) for name, _ in heads]


def to_text(day: ChargeDay) -> str:
    """A day as JSON, for a store."""
    lines = zip(day.heads, day.accrued, day.booked, strict=True)
    return json.dumps(
        [
            day.day,
            [(name, int(sureness), accrued, booked) for (name, sureness), accrued, booked in lines],
            [(one.order_id, int(one.side), one.quantity, one.price) for one in day.open],
            day.intraday,
            day.dp,
        ],
        separators=(",", ":"),
    )


def from_text(text: str) -> ChargeDay:
    """The day of a JSON text."""
    day, lines, still_open, intraday, dp = json.loads(text)
    return ChargeDay(
        day,
        tuple((name, Sureness(sureness)) for name, sureness, _, _ in lines),
        [accrued for _, _, accrued, _ in lines],
        [booked for *_, booked in lines],
        [OpenTrade(order_id, Side(side), quantity, price) for order_id, side, quantity, price in still_open],
        intraday,
        dp,
    )


@lru_cache(maxsize=1)
def _shipped() -> ChargeRates:
    return load_charge_rates()
