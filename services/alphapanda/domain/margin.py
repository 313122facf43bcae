"""The margin model of simulated accounts: the rupees that a position blocks, at dated rates.

Delivery (CNC), shares as NRML and bought options need their whole value. Intraday shares (MIS), long or short, and futures
need a percentage of their value, and short options a percentage of strike times units. The percentages are in
`data/margin_rates.json`, with their sureness; a setting may replace each.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from typing import Any

from alphapanda.domain.instrument import Instrument
from alphapanda.domain.money import ZERO, to_paisa
from alphapanda.domain.order import Product

HUNDRED = Decimal(100)
_REMEMBERED = 64
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_WEEKLY_MONTHS = "123456789OND"
_OPTIONS = ("CE", "PE")
_MIS = Product.MIS


class MarginKind(StrEnum):
    """What a margin percentage is for."""

    MIS_EQUITY = "mis_equity"
    FUTURES = "futures"
    SHORT_OPTIONS = "short_options"


# Enum members that every order asks for, looked up once: each look-up costs as much as the comparison with it.
_MIS_EQUITY, _SHORT_OPTIONS = MarginKind.MIS_EQUITY, MarginKind.SHORT_OPTIONS


@dataclass(frozen=True, slots=True)
class MarginModel:
    """Margin percentages by kind, each a series of (in force from, percent) ordered by date."""

    percents: Mapping[MarginKind, tuple[tuple[date, Decimal], ...]]
    _found: dict[tuple[MarginKind, date], Decimal] = field(default_factory=dict, compare=False, repr=False)

    def with_percents(self, given: Mapping[MarginKind, Decimal | None]) -> "MarginModel":
        """The model with other percentages, of any date; None keeps the dated ones."""
        fixed = {kind: ((date.min, percent),) for kind, percent in given.items() if percent is not None}
        return MarginModel({**self.percents, **fixed})

    def percent(self, kind: MarginKind, day: date) -> Decimal:
        """The percentage in force on a day; before the first known day the oldest one."""
        found = self._found.get((kind, day))  # a decision asks twice, of one day
        if found is None:
            series = self.percents[kind]
            at = bisect_right(series, day, key=lambda rate: rate[0]) - 1
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            found = self._found[kind, day] = series[max(at, 0)][1]
        return found

    def margin(
        self, instrument: Instrument, product: Product, quantity: int, value: Decimal, day: date
    ) -> Decimal | None:
        """The rupees that a position blocks, rounded to the paisa.

        Args:
            instrument: the instrument.
            product: how the position is held.
            quantity: signed units.
            value: rupees paid or received for them, >= 0.
            day: the exchange's day.

        Returns:
            None if it can't be known: a short option whose strike isn't in its symbol.
        """
        if not quantity:
            return ZERO
        kind = _kind(instrument, product, quantity)
        if kind is None:
            return value
        if kind is _SHORT_OPTIONS:
            strike = strike_of(instrument)
            if strike is None:
                return None
            value = -quantity * strike
        return to_paisa(value * self.percent(kind, day) / HUNDRED)


def _kind(instrument: Instrument, product: Product, quantity: int) -> MarginKind | None:
    """The percentage that holds for a position; None: it needs its whole value."""
    if instrument.instrument_type in _OPTIONS:
        return MarginKind.SHORT_OPTIONS if quantity < 0 else None
    if instrument.instrument_type == "FUT":
        return MarginKind.FUTURES
    return _MIS_EQUITY if product is _MIS else None


def strike_of(instrument: Instrument) -> Decimal | None:
    """The strike in an option's symbol, such as 24500 in NIFTY26NOV24500CE; None if the symbol doesn't say it."""
    expiry, symbol, name = instrument.expiry, instrument.tradingsymbol, instrument.name
    if expiry is None or instrument.instrument_type not in _OPTIONS:
        return None
    year, month = f"{expiry:%y}", expiry.month - 1
    for stem in (f"{name}{year}{_MONTHS[month]}", f"{name}{year}{_WEEKLY_MONTHS[month]}{expiry:%d}"):
        rest = symbol.removeprefix(stem).removesuffix(instrument.instrument_type)
        if symbol.startswith(stem) and re.fullmatch(r"\d+(\.\d+)?", rest):
            return Decimal(rest)
    return None


@lru_cache(maxsize=1)
def load_margin_model() -> MarginModel:
    """The dated percentages shipped with the package."""
    shipped = resources.files("alphapanda.domain").joinpath("data/margin_rates.json")
    return parse_margin_model(json.loads(shipped.read_text(encoding="utf-8")))


def parse_margin_model(document: Mapping[str, Any]) -> MarginModel:
    """Parses percentages from a document with the form of `data/margin_rates.json`.

    Raises:
        ValueError: a kind is missing or unknown, a percentage isn't above 0, or dates aren't in order.
    """
    percents = {
        MarginKind(entry["kind"]): tuple(
            (date.fromisoformat(since), Decimal(percent)) for since, percent in entry["since"]
        )
        for entry in document["rates"]
    }
    for kind in MarginKind:
        series = percents.get(kind, ())
        if not series or any(percent <= 0 for _, percent in series) or list(series) != sorted(series):
            raise ValueError(
                f"the margin of {kind.value} needs percentages above 0, in the order of their dates"
            )
    return MarginModel(percents)
