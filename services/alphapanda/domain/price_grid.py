"""The price grid: the smallest price step of an instrument, which depends on price and day.

The rules are dated data in `data/price_grid.json`. Every function answers on every input: a day before the first rule has the
first one, a price of 0 or less the step of the lowest band, an instrument without a rule (a currency, a commodity) the tick
size of its instrument list.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from alphapanda.domain.instrument import Instrument
from alphapanda.domain.session import Sureness

INDICES: Final = frozenset(
    {
        "NIFTY",
        "NIFTY 50",
        "BANKNIFTY",
        "NIFTY BANK",
        "FINNIFTY",
        "MIDCPNIFTY",
        "NIFTYNXT50",
        "SENSEX",
        "SENSEX50",
        "BANKEX",
    }
)
"""Underlyings of index futures and options."""

_OF_INDEX: Final = re.compile(rf"({'|'.join(one for one in INDICES if ' ' not in one)})\d")
_INDEX_STEP: Final = Decimal("0.01")
_WHOLE: Final = Decimal(1)
_EXCHANGES: Final = {"NSE": "NSE", "NFO": "NSE", "BSE": "BSE", "BFO": "BSE"}


class Kind(StrEnum):
    """Kinds of instruments with a price grid of their own."""

    EQUITY = "equity"
    ETF = "etf"
    STOCK_FUTURE = "stock_future"
    INDEX_FUTURE = "index_future"
    STOCK_OPTION = "stock_option"
    INDEX_OPTION = "index_option"


@dataclass(frozen=True, slots=True)
class Band:
    """Prices with one step.

    Attributes:
        limit: where the band ends, rupees; None: it has no end.
        inclusive: whether the limit itself belongs to the band.
        tick: the step, rupees.
    """

    limit: Decimal | None
    inclusive: bool
    tick: Decimal

    def holds(self, price: Decimal) -> bool:
        """Whether a price that is in no lower band is in this one."""
        if self.limit is None:
            return True
        return price <= self.limit if self.inclusive else price < self.limit


@dataclass(frozen=True, slots=True)
class GridRule:
    """The bands from a day on, in order of price; the last one has no end."""

    since: date
    bands: tuple[Band, ...]
    sureness: Sureness
    source: str

    def tick(self, price: Decimal) -> Decimal:
        """The step at a price."""
        if not price.is_finite():
            return self.bands[-1].tick
        for band in self.bands:
            if band.holds(price):
                return band.tick
        return self.bands[-1].tick

    def against(self, price: Decimal, *, buys: bool) -> Decimal:
        """The price on the grid that is next to a price, or equal to it: above it for a purchase, below it for a sale.

        It is at least one step.
        """
        tick = self.tick(price)
        if not price % tick and price > 0:
            return price.quantize(tick)
        steps = (price / tick).quantize(_WHOLE, ROUND_CEILING if buys else ROUND_FLOOR)
        return max((steps * tick).quantize(tick), tick)


def kind_of(instrument: Instrument) -> Kind | None:
    """An instrument's kind; None for one without a rule, such as an index."""
    return _kind(
        instrument.exchange,
        instrument.segment,
        instrument.instrument_type,
        instrument.name,
        instrument.tradingsymbol,
    )


@lru_cache(maxsize=4096)  # each order asks several times
def _kind(exchange: str, segment: str, instrument_type: str, name: str, tradingsymbol: str) -> Kind | None:
    if segment == "INDICES" or exchange not in _EXCHANGES:
        return None
    name = name.upper()
    of_index = name in INDICES or _OF_INDEX.match(tradingsymbol) is not None
    match instrument_type:
        case "FUT":
            return Kind.INDEX_FUTURE if of_index else Kind.STOCK_FUTURE
        case "CE" | "PE":
            return Kind.INDEX_OPTION if of_index else Kind.STOCK_OPTION
        case "EQ":
            symbol = tradingsymbol.upper()
            etf = symbol.endswith("BEES") or "ETF" in symbol or "ETF" in name.split()
            return Kind.ETF if etf else Kind.EQUITY
        case _:
            return None


def grid_rule(instrument: Instrument, day: date) -> GridRule:
    """The rule in force for an instrument on a day."""
    kind = kind_of(instrument)
    if kind is None:
        index = instrument.segment == "INDICES"
        tick = _INDEX_STEP if index else instrument.tick_size
        return GridRule(
            date.min, (Band(None, inclusive=True, tick=tick),), Sureness.SINGLE, "instrument list"
        )
    return _rule_on(_EXCHANGES[instrument.exchange], kind, day)


@lru_cache(maxsize=1024)
def _rule_on(exchange: str, kind: Kind, day: date) -> GridRule:
    rules = _rules()[exchange, kind]
    return rules[max(0, bisect_right(rules, day, key=lambda rule: rule.since) - 1)]


def next_rule_day(instrument: Instrument, day: date) -> date | None:
    """The day after `day` on which the instrument's rule changes; None if it doesn't."""
    kind = kind_of(instrument)
    if kind is None:
        return None
    rules = _rules()[_EXCHANGES[instrument.exchange], kind]
    return next((rule.since for rule in rules[1:] if rule.since > day), None)


def tick_size(instrument: Instrument, price: Decimal, day: date) -> Decimal:
    """The smallest price step of an instrument at a price on a day, rupees, > 0."""
    return grid_rule(instrument, day).tick(price)


def round_to_grid(
    instrument: Instrument, price: Decimal, day: date, rounding: str = ROUND_HALF_UP
) -> Decimal:
    """A price on the grid.

    Args:
        instrument: its instrument.
        price: rupees; one that is 0 or less, or no number, is returned as it is.
        day: the trading day.
        rounding: a rounding of `decimal`; ROUND_CEILING and ROUND_FLOOR give the next price above and below.

    Returns:
        Rupees, at least one step.
    """
    if not price.is_finite() or price <= 0:
        return price
    tick = tick_size(instrument, price, day)
    return max((price / tick).to_integral_value(rounding=rounding) * tick, tick)


@lru_cache(maxsize=1)
def _rules() -> Mapping[tuple[str, Kind], tuple[GridRule, ...]]:
    shipped = resources.files("alphapanda.domain").joinpath("data/price_grid.json")
    return parse_grid(json.loads(shipped.read_text(encoding="utf-8")))


def parse_grid(document: Mapping[str, Any]) -> Mapping[tuple[str, Kind], tuple[GridRule, ...]]:
    """The rules of a document with the form of `data/price_grid.json`, by exchange and kind.

    Raises:
        ValueError: rules or bands are out of order, or the last band of a rule has an end.
    """
    rules: dict[tuple[str, Kind], tuple[GridRule, ...]] = {}
    for entry in document["rules"]:
        key = (str(entry["exchange"]), Kind(entry["kind"]))
        rule = GridRule(
            date.fromisoformat(entry["from"]),
            tuple(_band(band) for band in entry["bands"]),
            Sureness(entry["sureness"]),
            entry["source"],
        )
        limits = [band.limit for band in rule.bands[:-1]]
        if (
            None in limits
            or rule.bands[-1].limit is not None
            or limits != sorted(limits, key=lambda limit: limit or 0)
        ):
            raise ValueError(
                f"the bands of {key} from {rule.since} are out of order, or the last one has an end"
            )
        if key in rules and rules[key][-1].since >= rule.since:
            raise ValueError(f"the rule of {key} from {rule.since} comes after a later one")
        rules[key] = (*rules.get(key, ()), rule)
    return rules


def _band(entry: Mapping[str, Any]) -> Band:
    limit = entry.get("below", entry.get("up_to"))
    tick = Decimal(entry["tick"])
    return Band(None if limit is None else Decimal(limit), inclusive="below" not in entry, tick=tick)
