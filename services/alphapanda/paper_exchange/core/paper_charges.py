"""What the paper exchange charges for a fill: as Zerodha, a percentage of the turnover, or nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo

from msgspec import Struct
from typing_extensions import override

from alphapanda.domain.charge_rates import (
    CHARGES,
    LINEAR,
    PRICE_UNITS,
    UNITS,
    ChargeRates,
    ChargeSegment,
    ChargeSheet,
)
from alphapanda.domain.charges import NO_CHARGES, PAISA_UNITS, Charges, fill_charges
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.money import ZERO, to_paisa, up_to_paisa
from alphapanda.domain.order import Product, Side
from alphapanda.domain.terms import AT_MARKET, Terms

_IST = ZoneInfo("Asia/Kolkata")
_DAY = timedelta(days=1)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = Decimal(100)
_STT, _STAMP_DUTY = LINEAR.index("stt"), LINEAR.index("stamp_duty")
_IN_PAISE = len(CHARGES) - 2
"""Lines of a contract note in paise, by at most one of which each is rounded up."""


class PaperOrder(Struct, frozen=True, gc=False):
    """An order at the paper exchange.

    Attributes:
        account: the account's name at the broker.
        strategy_id: the strategy that it is of.
        instrument: what is traded.
        product: how the position is margined.
        side: direction.
        quantity: units, > 0.
        number: 0, 1, 2 … within the order that it is a slice of.
        terms: how it is priced.
    """

    account: str
    strategy_id: str
    instrument: Instrument
    product: Product
    side: Side
    quantity: int
    number: int = 0
    terms: Terms = AT_MARKET


class PaperCharges(Protocol):
    """Computes the charges of fills."""

    def of(
        self, order: PaperOrder, quantity: int, price: Decimal, traded_at: datetime, traded_before: int
    ) -> tuple[Decimal, Charges]:
        """The commission on a fill of an order, in whole paise, and its lines, none where only the sum is known.

        Args:
            order: the order.
            quantity: units of this fill.
            price: rupees a unit, > 0.
            traded_at: aware market time.
            traded_before: turnover of the order's earlier fills, in PRICE_UNITS.
        """

    def estimate(
        self, instrument: Instrument, product: Product, side: Side, quantity: int, price: Decimal, day: date
    ) -> Decimal:
        """The most that an order is charged which fills whole at a price on a day, in rupees.

        It is not less than what is booked for it, however the day's sums are rounded.
        """


class PercentCharges(PaperCharges):
    """A percentage of the turnover, rounded to the paisa, halves up; 0 charges nothing."""

    def __init__(self, percent: Decimal) -> None:
        self._rate = percent / _WHOLE

    @override
    def of(
        self, order: PaperOrder, quantity: int, price: Decimal, traded_at: datetime, traded_before: int
    ) -> tuple[Decimal, Charges]:
        return (to_paisa(price * quantity * self._rate) if self._rate else ZERO), NO_CHARGES

    @override
    def estimate(
        self, instrument: Instrument, product: Product, side: Side, quantity: int, price: Decimal, day: date
    ) -> Decimal:
        return up_to_paisa(price * quantity * self._rate) if self._rate else ZERO


class KiteCharges(PaperCharges):
    """What Zerodha charges at the rates of the day; before the first rates known at the oldest ones, marked as assumed."""

    def __init__(self, rates: ChargeRates) -> None:
        self._rates = rates
        self._sheets: dict[tuple[str, Product], ChargeSheet] = {}
        self._day = MarketDay()
        self._estimated: dict[tuple[str, Product], ChargeSheet] = {}
        self._estimated_day = date.min

    @override
    def of(
        self, order: PaperOrder, quantity: int, price: Decimal, traded_at: datetime, traded_before: int
    ) -> tuple[Decimal, Charges]:
        if self._day.moves_to(traded_at):
            self._sheets.clear()
        which = (order.instrument.instrument_id, order.product)
        sheet = self._sheets.get(which)
        if sheet is None:
            sheet = self._sheets[which] = self._sheet(order.instrument, order.product, self._day.date)
        charges = fill_charges(sheet, order.side, quantity, price, traded_before)
        return charges.in_paise, charges

    @override
    def estimate(
        self, instrument: Instrument, product: Product, side: Side, quantity: int, price: Decimal, day: date
    ) -> Decimal:
        if day != self._estimated_day:
            self._estimated_day = day
            self._estimated.clear()
        which = (instrument.instrument_id, product)
        sheet = self._estimated.get(which)
        if sheet is None:
            sheet = self._estimated[which] = self._sheet(instrument, product, day)
        turnover = quantity * (int(price * PRICE_UNITS) + 1)
        buys = side is Side.BUY
        rates = sheet.buy if buys else sheet.sell
        # A contract note rounds STT and stamp duty to rupees and the other lines to paise.
        to_rupees = -(rates[_STT] * turnover) % UNITS + -(rates[_STAMP_DUTY] * turnover) % UNITS
        units = sheet.total(turnover, buys=buys) + to_rupees
        return Decimal(units // PAISA_UNITS + _IN_PAISE).scaleb(-2)

    def _sheet(self, instrument: Instrument, product: Product, day: date) -> ChargeSheet:
        segment = ChargeSegment.of(instrument.instrument_type, product)
        return self._rates.sheet(day, instrument.exchange, segment, fall_back=True)


class MarketDay:
    """The day in India of the last moment asked for.

    Attributes:
        date: the day.
        text: the day as YYYY-MM-DD.
    """

    def __init__(self) -> None:
        self._begins = self._ends = _LONG_AGO
        self.date = date.min
        self.text = ""

    def moves_to(self, moment: datetime) -> bool:
        """Moves to the day of a moment; returns whether that is another day than before."""
        if self._begins <= moment < self._ends:
            return False
        self.date = moment.astimezone(_IST).date()
        self.text = self.date.isoformat()
        self._begins = datetime.combine(self.date, time.min, _IST).astimezone(UTC)
        self._ends = self._begins + _DAY
        return True
