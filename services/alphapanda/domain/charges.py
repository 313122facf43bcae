"""Charges of an executed order at Zerodha, line by line: brokerage, taxes and fees, exact and unrounded.

A fill's lines are what Kite's charges API answers for it. What a contract note makes of a day's fills (rounding, delivery
that became intraday, DP charges) is in `charge_days.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final, NamedTuple

from msgspec import Struct

from alphapanda.domain.charge_rates import (
    CHARGES,
    COMMISSION,
    DP,
    PRICE_UNITS,
    UNITS,
    ChargeSheet,
    Sureness,
)
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import Side

_PLACES: Final = 15
_GST_BASE: Final = 100
PAISA_UNITS: Final = UNITS // 100


class ChargeLine(NamedTuple):
    """One charge: its name, such as "stt", rupees, and how sure its rate is. Rupees are negative where a charge is taken back."""

    name: str
    amount: Decimal
    sureness: Sureness


class Charges(Struct, frozen=True, gc=False):
    """Charges by line, as integers.

    Attributes:
        heads: name and sureness of each line.
        units: amounts in UNITS (10^15 to the rupee), in the order of `heads`.
    """

    heads: tuple[tuple[str, Sureness], ...] = ()
    units: tuple[int, ...] = ()

    @property
    def lines(self) -> tuple[ChargeLine, ...]:
        """The lines that aren't 0."""
        return tuple(
            ChargeLine(name, _rupees(units), sureness)
            for (name, sureness), units in zip(self.heads, self.units, strict=True)
            if units
        )

    @property
    def total(self) -> Decimal:
        """The sum of all lines, exact."""
        return _rupees(sum(self.units))

    @property
    def in_paise(self) -> Decimal:
        """The sum of all lines, 0 or more, rounded to the paisa, halves up."""
        return Decimal((sum(self.units) + PAISA_UNITS // 2) // PAISA_UNITS).scaleb(-2)

    def __bool__(self) -> bool:
        """Whether it has lines."""
        return bool(self.heads)


NO_CHARGES: Final = Charges()
"""Of a fill whose commission has no lines."""


def merged(parts: Iterable[Charges], total: Decimal | None = None) -> Charges:
    """Charges added up by name, in the order of a contract note, each with its least sure rate.

    Args:
        parts: what is added up.
        total: rupees that the lines are part of; what they lack is a line "commission". None: they are all there is.
    """
    found: dict[str, tuple[int, Sureness]] = {}
    for part in parts:
        for (name, sureness), units in zip(part.heads, part.units, strict=True):
            if units:
                known, least = found.get(name, (0, Sureness.UNRATED))
                found[name] = (known + units, max(least, sureness))
    if total is not None:
        rest = int(total.scaleb(_PLACES)) - sum(units for units, _ in found.values())
        if rest:
            found[COMMISSION] = (rest, Sureness.UNRATED)
    names = sorted((name for name, (units, _) in found.items() if units), key=_place)
    return Charges(tuple((name, found[name][1]) for name in names), tuple(found[name][0] for name in names))


def _place(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER)), name


_ORDER: Final = (*CHARGES, DP, COMMISSION)


def charges_of(lines: Iterable[ChargeLine]) -> Charges:
    """The charges with these lines.

    Raises:
        InvalidInput: an amount has more than 15 decimals.
    """
    heads, units = [], []
    for name, amount, sureness in lines:
        scaled = amount.scaleb(_PLACES)
        whole = int(scaled)
        if whole != scaled:
            raise InvalidInput(f"charge {name}", amount, f"at most {_PLACES} decimals")
        heads.append((name, sureness))
        units.append(whole)
    return Charges(tuple(heads), tuple(units))


def charges_text(charges: Charges) -> str:
    """Charges as text, for a store: name=units=sureness of the lines that aren't 0."""
    return " ".join(
        f"{name}={units}={int(sureness)}"
        for (name, sureness), units in zip(charges.heads, charges.units, strict=True)
        if units
    )


def charges_from_text(text: str) -> Charges:
    """The charges of a text made by `charges_text`."""
    if not text:
        return NO_CHARGES
    heads, units = [], []
    for line in text.split(" "):
        name, amount, sureness = line.split("=")
        heads.append((name, Sureness(int(sureness))))
        units.append(int(amount))
    return Charges(tuple(heads), tuple(units))


def fill_charges(
    sheet: ChargeSheet, side: Side, quantity: int, price: Decimal, traded_before: int = 0
) -> Charges:
    """The charges of a fill.

    Args:
        sheet: the rates of its day, exchange and segment.
        side: of the order.
        quantity: units filled (not lots), > 0.
        price: rupees per unit, > 0, with at most 4 decimals; for options the premium.
        traded_before: PRICE_UNITS of turnover of the order's earlier fills. Brokerage is capped per executed order, so a
            further fill pays the difference only.

    Raises:
        InvalidInput: quantity or price isn't positive, or the price is too fine.
    """
    if quantity <= 0:
        raise InvalidInput("quantity", quantity, "an executed order has a positive one")
    turnover = turnover_of(quantity, price)
    brokerage = sheet.brokerage(traded_before + turnover)
    if traded_before:
        brokerage -= sheet.brokerage(traded_before)
    stt, exchange, ipft, sebi, stamp = sheet.buy if side is Side.BUY else sheet.sell
    exchange *= turnover
    sebi *= turnover
    # Exact: every amount is a multiple of 100 units, as rates have 9 decimals and RATE_UNITS are 10^11.
    gst = (brokerage + exchange + sebi) // _GST_BASE * sheet.gst
    return Charges(
        sheet.heads, (brokerage, stt * turnover, exchange, ipft * turnover, sebi, stamp * turnover, gst)
    )


def turnover_of(quantity: int, price: Decimal) -> int:
    """The turnover in PRICE_UNITS.

    Raises:
        InvalidInput: the price isn't positive, or has more than 4 decimals.
    """
    scaled = price * PRICE_UNITS
    whole = int(scaled)
    if whole != scaled or whole <= 0:
        raise InvalidInput("price", price, "an executed order has a positive one with at most 4 decimals")
    return whole * quantity


def _rupees(units: int) -> Decimal:
    whole, rest = divmod(units, PAISA_UNITS)
    if not rest:
        return Decimal(whole).scaleb(-2)
    digits = str(abs(units)).zfill(_PLACES + 1)
    return Decimal(f"{'-' if units < 0 else ''}{digits[:-_PLACES]}.{digits[-_PLACES:].rstrip('0')}")
