"""Dated rates of Zerodha's charges, from `data/charges_rates.json`.

An amount is an integer of UNITS to the rupee, so that every product of a price, a quantity and a rate is exact.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from enum import IntEnum, StrEnum
from importlib import resources
from itertools import pairwise
from typing import Any, Final

from alphapanda.domain.errors import UnknownName
from alphapanda.domain.order import Product

PRICE_UNITS: Final = 10_000
"""Units of a price or a turnover in one rupee."""
UNITS: Final = 10**15
"""Units of an amount in one rupee: those of a turnover, of a rate (10^9) and of a GST rate (100)."""
RATE_UNITS: Final = UNITS // PRICE_UNITS
_FINEST_RATE: Final = Decimal("0.000000001")
_PERCENT: Final = 100


class Sureness(IntEnum):
    """How sure a rate is, from the surest; numbered as in panda.common.v1. UNRATED is a sum without lines."""

    UNRATED = 0
    VERIFIED = 1
    CITED = 2
    REPORTED = 3
    ASSUMED = 4


class ChargeSegment(StrEnum):
    """The segment that sets a trade's charges."""

    EQ_DELIVERY = "EQ_DELIVERY"
    EQ_INTRADAY = "EQ_INTRADAY"
    EQ_FUT = "EQ_FUT"
    EQ_OPT = "EQ_OPT"

    @classmethod
    def of(cls, instrument_type: str, product: Product) -> ChargeSegment:
        """The segment of a trade, from Kite's type of the instrument. Shares that aren't MIS are delivered.

        Raises:
            UnknownName: the type is none of EQ, FUT, CE, PE.
        """
        if instrument_type == "EQ":
            return cls.EQ_INTRADAY if product is Product.MIS else cls.EQ_DELIVERY
        if instrument_type == "FUT":
            return cls.EQ_FUT
        if instrument_type in ("CE", "PE"):
            return cls.EQ_OPT
        raise UnknownName("instrument_type", instrument_type, ("EQ", "FUT", "CE", "PE"))


EXCHANGES: Final = {"NSE": "NSE", "NFO": "NSE", "BSE": "BSE", "BFO": "BSE"}
"""The exchange whose rates hold, by the exchange of an instrument."""


class ChargesNotKnown(LookupError):
    """No rate is known for this charge, exchange and segment on this day."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate in force from a date on: a fraction of turnover, or rupees per order.

    Attributes:
        since: its first day.
        value: the fraction, or the rupees.
        sureness: how sure it is.
        on_buy: whether purchases pay it.
        on_sell: whether sales pay it.
        per_order: whether `value` is rupees for an order.
        cap: most rupees of an order; None if there is no cap.
    """

    since: date
    value: Decimal
    sureness: Sureness
    on_buy: bool
    on_sell: bool
    per_order: bool
    cap: Decimal | None


_Key = tuple[str, str, str]
LINEAR: Final = ("stt", "exchange_transaction", "ipft", "sebi", "stamp_duty")
"""Charges that are a fraction of the turnover; brokerage and GST are computed apart."""
CHARGES: Final = ("brokerage", *LINEAR, "gst")
"""Names of an order's charges, in the order of a contract note."""
COMMISSION: Final = "commission"
"""The name of charges of which only the sum is known."""
_EXCHANGE, _SEBI = LINEAR.index("exchange_transaction"), LINEAR.index("sebi")
DP: Final = "dp"
"""The depository's charge for a scrip and day on which holdings were sold; not an order's."""
_SIDES = {"both": (True, True), "buy": (True, False), "sell": (False, True)}
_PER = {"turnover": False, "order": True}


@dataclass(frozen=True, slots=True)
class ChargeSheet:
    """The rates of one day, exchange and segment, as integers.

    Attributes:
        heads: name and sureness of each charge, in the order of CHARGES.
        buy: RATE_UNITS of the linear charges of a purchase, in the order of LINEAR.
        sell: those of a sale.
        brokerage_rate: RATE_UNITS of brokerage; 0 where it is rupees per order.
        brokerage_most: UNITS that the brokerage of one order reaches at most, or is where it is rupees per order.
        gst: percent of brokerage, exchange transaction charge and SEBI fee.
        buy_sum: RATE_UNITS of all charges of a purchase but brokerage, with GST.
        sell_sum: those of a sale.
    """

    heads: tuple[tuple[str, Sureness], ...]
    buy: tuple[int, ...]
    sell: tuple[int, ...]
    brokerage_rate: int
    brokerage_most: int
    gst: int
    buy_sum: int
    sell_sum: int

    @property
    def assumed(self) -> bool:
        """Whether the day is before the first one with known rates."""
        return self.heads[0][1] is Sureness.ASSUMED

    def total(self, turnover: int, *, buys: bool) -> int:
        """UNITS of all charges of an order with a turnover of `turnover` (PRICE_UNITS), without its lines."""
        brokerage = self.brokerage(turnover)
        return (
            turnover * (self.buy_sum if buys else self.sell_sum)
            + brokerage
            + brokerage // _PERCENT * self.gst
        )

    def brokerage(self, turnover: int) -> int:
        """UNITS of brokerage of an order that has traded `turnover` (PRICE_UNITS, 0 or more)."""
        if not turnover or not self.brokerage_rate:
            return self.brokerage_most if turnover else 0
        return min(turnover * self.brokerage_rate, self.brokerage_most)


class ChargeRates:
    """Dated rates by (charge, exchange, segment), those of GST and of DP; each series is ordered by date."""

    def __init__(
        self, by_key: Mapping[_Key, tuple[Rate, ...]], gst: tuple[Rate, ...], dp: tuple[Rate, ...]
    ) -> None:
        self._by_key = by_key
        self._gst = gst
        self._dp = dp
        self._sheets: dict[tuple[date, str, str, bool], ChargeSheet] = {}

    def sheet(self, day: date, exchange: str, segment: ChargeSegment, *, fall_back: bool) -> ChargeSheet:
        """The rates of a day.

        Args:
            day: the trading day.
            exchange: NSE, BSE, NFO or BFO.
            segment: the charge segment.
            fall_back: whether the oldest rates stand in for a day before them; every charge is then ASSUMED. For
                simulated fills only: a real fill's charges are never guessed.

        Raises:
            ChargesNotKnown: no rate of a charge is known for the exchange and segment, or none for the day.
        """
        asked = (day, exchange, segment.value, fall_back)
        sheet = self._sheets.get(asked)
        if sheet is None:
            if len(self._sheets) >= _SHEETS_KEPT:
                self._sheets.clear()
            sheet = self._sheets[asked] = self._make(day, exchange, segment.value, fall_back=fall_back)
        return sheet

    def dp(self, day: date, *, fall_back: bool) -> tuple[Decimal, Sureness]:
        """Rupees, GST included, for a scrip of which holdings were sold on a day; and how sure they are.

        Raises:
            ChargesNotKnown: the day is before the first one known.
        """
        rate = _in_force(self._dp, day, ("dp", "the depository", "a scrip"), fall_back=fall_back)
        return rate.value, rate.sureness

    def _make(self, day: date, exchange: str, segment: str, *, fall_back: bool) -> ChargeSheet:
        where = EXCHANGES.get(exchange, exchange)
        rates = [
            _in_force(
                self._by_key.get((name, where, segment), ()), day, (name, where, segment), fall_back=fall_back
            )
            for name in CHARGES[:-1]
        ]
        rates.append(_in_force(self._gst, day, ("gst", where, segment), fall_back=fall_back))
        if any(rate.since > day for rate in rates):
            rates = [replace(rate, sureness=Sureness.ASSUMED) for rate in rates]
        brokerage, *linear, gst = rates
        most = brokerage.value if brokerage.per_order else brokerage.cap
        percent = int(gst.value * _PERCENT)
        buy, sell = (
            tuple(
                int(rate.value * RATE_UNITS) if applies else 0
                for rate, applies in zip(linear, which, strict=True)
            )
            for which in ([rate.on_buy for rate in linear], [rate.on_sell for rate in linear])
        )
        return ChargeSheet(
            heads=tuple((name, rate.sureness) for name, rate in zip(CHARGES, rates, strict=True)),
            buy=buy,
            sell=sell,
            brokerage_rate=0 if brokerage.per_order else int(brokerage.value * RATE_UNITS),
            brokerage_most=int((most or 0) * UNITS),
            gst=percent,
            buy_sum=sum(buy) + (buy[_EXCHANGE] + buy[_SEBI]) // _PERCENT * percent,
            sell_sum=sum(sell) + (sell[_EXCHANGE] + sell[_SEBI]) // _PERCENT * percent,
        )


_SHEETS_KEPT: Final = 256


def load_charge_rates() -> ChargeRates:
    """Loads the rates shipped with the package. It parses the file on each call, so keep the result."""
    shipped = resources.files("alphapanda.domain").joinpath("data/charges_rates.json")
    return parse_charge_rates(json.loads(shipped.read_text(encoding="utf-8")))


def parse_charge_rates(document: Mapping[str, Any]) -> ChargeRates:
    """Parses rates from a document with the form of `data/charges_rates.json`.

    Raises:
        ValueError: an entry is wrong; the message names it.
    """
    by_key: dict[_Key, tuple[Rate, ...]] = {}
    for entry in document["rates"]:
        charge = entry["charge"]
        if charge not in CHARGES[:-1]:
            raise UnknownName("charge", charge, CHARGES[:-1])
        series = _series(entry, charge)
        for exchange in entry["exchanges"]:
            for segment in entry["segments"]:
                key = (charge, exchange, ChargeSegment(segment).value)
                if key in by_key:
                    raise ValueError(f"rates of {_named(key)} are given twice")
                by_key[key] = series
    return ChargeRates(by_key, _series(document["gst"], "gst"), _series(document["dp"], "dp"))


def _series(entry: Mapping[str, Any], charge: str) -> tuple[Rate, ...]:
    side, per = entry["side"], entry["per"]
    if side not in _SIDES:
        raise UnknownName(f"side of {charge}", side, _SIDES)
    if per not in _PER:
        raise UnknownName(f"per of {charge}", per, _PER)
    cap = Decimal(entry["cap"]) if "cap" in entry else None
    series = tuple(_steps(entry["since"], charge, side, cap, per_order=_PER[per]))
    for earlier, later in pairwise(series):
        if later.since <= earlier.since:
            raise ValueError(
                f"{charge}: the rate from {later.since} comes after the one from {earlier.since}"
            )
    return series


def _steps(
    steps: Iterable[tuple[str, str, str]], charge: str, side: str, cap: Decimal | None, *, per_order: bool
) -> Iterable[Rate]:
    on_buy, on_sell = _SIDES[side]
    names = [each.name.lower() for each in Sureness if each]
    for since, value, sureness in steps:
        if sureness not in names:
            raise UnknownName(f"sureness of {charge} from {since}", sureness, names)
        rate = Decimal(value)
        if rate < 0 or rate != rate.quantize(_FINEST_RATE):
            raise ValueError(f"{charge}: the rate {value} is negative or finer than {_FINEST_RATE:f}")
        yield Rate(
            date.fromisoformat(since), rate, Sureness[sureness.upper()], on_buy, on_sell, per_order, cap
        )


def _in_force(series: tuple[Rate, ...], day: date, key: _Key, *, fall_back: bool) -> Rate:
    at = bisect_right(series, day, key=lambda rate: rate.since) - 1
    if at >= 0:
        return series[at]
    if not series:
        raise ChargesNotKnown(f"no rate of {_named(key)} is known for any day")
    if fall_back:
        return replace(series[0], sureness=Sureness.ASSUMED)
    raise ChargesNotKnown(
        f"no rate of {_named(key)} for {day}: the first one known is from {series[0].since}"
    )


def _named(key: _Key) -> str:
    charge, exchange, segment = key
    return f"{charge} at {exchange} for {segment}"
