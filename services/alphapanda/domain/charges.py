"""Charges of an executed order at Zerodha: brokerage, taxes and fees, at dated rates.

The rates are in `data/charges_rates.json`. Amounts are exact, unrounded rupees. The contract note rounds transaction tax
and stamp duty to whole rupees over all trades of a scrip in a day, so one order's figures are accruals that the
contract note adjusts.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from importlib import resources
from itertools import pairwise
from typing import Any

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.order import Side


class ChargeSegment(StrEnum):
    """The segment that sets a trade's charges. Delivery shares bought and sold on one day are charged as intraday."""

    EQ_DELIVERY = "EQ_DELIVERY"
    EQ_INTRADAY = "EQ_INTRADAY"
    EQ_FUT = "EQ_FUT"
    EQ_OPT = "EQ_OPT"


class ChargesNotKnown(LookupError):
    """No rate is known for this charge, exchange and segment on this day."""


@dataclass(frozen=True, slots=True)
class Charges:
    """The charges of one order in exact rupees, none negative."""

    brokerage: Decimal
    transaction_tax: Decimal
    exchange_turnover: Decimal
    ipft: Decimal
    sebi: Decimal
    gst: Decimal
    stamp_duty: Decimal

    @property
    def total(self) -> Decimal:
        """The sum of all charges."""
        return (
            self.brokerage
            + self.transaction_tax
            + self.exchange_turnover
            + self.ipft
            + self.sebi
            + self.gst
            + self.stamp_duty
        )


@dataclass(frozen=True, slots=True)
class _Rate:
    """A rate in force from a date on: a fraction of turnover, or rupees per order."""

    since: date
    value: Decimal
    sides: tuple[Side, ...]
    per_order: bool
    cap: Decimal | None

    def amount(self, side: Side, turnover: Decimal) -> Decimal:
        if side not in self.sides:
            return Decimal(0)
        if self.per_order:
            return self.value
        due = turnover * self.value
        return due if self.cap is None else min(due, self.cap)


_Key = tuple[str, str, str]
_SIDES = {"both": (Side.BUY, Side.SELL), "buy": (Side.BUY,), "sell": (Side.SELL,)}
_PER = {"turnover": False, "order": True}


@dataclass(frozen=True, slots=True)
class ChargeRates:
    """Dated rates by (charge, exchange, segment), and the rates of GST; each series is ordered by date."""

    by_key: Mapping[_Key, tuple[_Rate, ...]]
    gst: tuple[_Rate, ...]


def charges_for(
    rates: ChargeRates,
    *,
    day: date,
    exchange: str,
    segment: ChargeSegment,
    side: Side,
    quantity: int,
    price: Decimal,
) -> Charges:
    """The charges of one executed order.

    Args:
        rates: the dated rates.
        day: the trading day.
        exchange: NSE or BSE.
        segment: the charge segment.
        side: of the order.
        quantity: units filled (not lots), positive. Brokerage is capped per executed order, so for an order with several
            fills pass the whole filled quantity and its average price; the charge of a further fill is the difference.
        price: rupees per unit, positive; for options the premium.

    GST is due on brokerage, exchange turnover charge and SEBI fee, but not on the investor protection levy (ipft), as in
    Kite's charges API.

    Raises:
        ChargesNotKnown: a rate for the day is missing.
        InvalidInput: quantity or price isn't positive.
    """
    if quantity <= 0:
        raise InvalidInput("quantity", quantity, "an executed order has a positive one")
    if price <= 0:
        raise InvalidInput("price", price, "an executed order has a positive one")
    turnover = quantity * price

    def due(charge: str) -> Decimal:
        key = (charge, exchange, segment.value)
        return _in_force(rates.by_key.get(key, ()), day, key).amount(side, turnover)

    brokerage, exchange_turnover, sebi = due("brokerage"), due("exchange_turnover"), due("sebi")
    gst = _in_force(rates.gst, day, ("gst", exchange, segment.value))
    return Charges(
        brokerage=brokerage,
        transaction_tax=due("transaction_tax"),
        exchange_turnover=exchange_turnover,
        ipft=due("ipft"),
        sebi=sebi,
        gst=gst.amount(side, brokerage + exchange_turnover + sebi),
        stamp_duty=due("stamp_duty"),
    )


def load_charge_rates() -> ChargeRates:
    """Loads the rates shipped with the package. It parses the file on each call, so keep the result."""
    shipped = resources.files("alphapanda.domain").joinpath("data/charges_rates.json")
    return parse_charge_rates(json.loads(shipped.read_text(encoding="utf-8")))


def parse_charge_rates(document: Mapping[str, Any]) -> ChargeRates:
    """Parses rates from a document with the form of `data/charges_rates.json`.

    Raises:
        ValueError: an entry is wrong; the message names it.
    """
    by_key: dict[_Key, tuple[_Rate, ...]] = {}
    for entry in document["rates"]:
        series = _series(entry, entry["charge"])
        for exchange in entry["exchanges"]:
            for segment in entry["segments"]:
                key = (entry["charge"], exchange, ChargeSegment(segment).value)
                if key in by_key:
                    raise ValueError(f"rates of {_named(key)} are given twice")
                by_key[key] = series
    return ChargeRates(by_key, _series(document["gst"], "gst"))


def _series(entry: Mapping[str, Any], charge: str) -> tuple[_Rate, ...]:
    side, per = entry["side"], entry["per"]
    if side not in _SIDES:
        raise UnknownName(f"side of {charge}", side, _SIDES)
    if per not in _PER:
        raise UnknownName(f"per of {charge}", per, _PER)
    cap = Decimal(entry["cap"]) if "cap" in entry else None
    series = tuple(
        _Rate(date.fromisoformat(since), Decimal(value), _SIDES[side], _PER[per], cap)
        for since, value in entry["since"]
    )
    for earlier, later in pairwise(series):
        if later.since <= earlier.since:
            raise ValueError(
                f"{charge}: the rate from {later.since} comes after the one from {earlier.since}"
            )
    return series


def _in_force(series: tuple[_Rate, ...], day: date, key: _Key) -> _Rate:
    at = bisect_right(series, day, key=lambda rate: rate.since) - 1
    if at >= 0:
        return series[at]
    if series:
        raise ChargesNotKnown(
            f"no rate of {_named(key)} for {day}: the first one known is from {series[0].since}"
        )
    raise ChargesNotKnown(f"no rate of {_named(key)} is known for any day")


def _named(key: _Key) -> str:
    charge, exchange, segment = key
    return f"{charge} at {exchange} for {segment}"
