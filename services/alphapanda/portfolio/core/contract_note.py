"""A day's charges put right after the broker's contract note, line by line. Pure.

What a line differs by is shared out among the day's positions by what each has paid of that line, in whole paise; of a line that nobody
has paid, by turnover.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from alphapanda.domain.charge_rates import CHARGES, DP, Sureness
from alphapanda.domain.charges import PAISA_UNITS, ChargeLine, Charges, charges_of, merged
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.signal import PositionKey

NAMES: Final = (*CHARGES, DP)
"""The lines of a contract note."""


@dataclass(frozen=True, slots=True)
class DayCharges:
    """What a position has paid on the day, and what it has traded.

    Attributes:
        charges: as booked, with earlier corrections.
        turnover: rupees, > 0.
    """

    charges: Charges
    turnover: Decimal


class NoteLine(NamedTuple):
    """A line of a contract note beside what was booked, rupees."""

    name: str
    booked: Decimal
    noted: Decimal

    @property
    def corrected(self) -> Decimal:
        """What is booked as a correction."""
        return self.noted - self.booked


@dataclass(frozen=True, slots=True)
class Corrections:
    """What a contract note changes.

    Attributes:
        lines: by line, in the order of a contract note.
        by_key: the corrections of each position that has one.
    """

    lines: tuple[NoteLine, ...]
    by_key: Mapping[PositionKey, Charges]


def noted_charges(lines: Mapping[str, Decimal]) -> Charges:
    """The charges of a note.

    Raises:
        UnknownName: there is no such line.
        InvalidInput: an amount is negative, or no whole paise.
    """
    for name, amount in lines.items():
        if name not in NAMES:
            raise UnknownName("lines.name", name, NAMES)
        if not amount.is_finite() or amount < 0 or amount != round(amount, 2):
            raise InvalidInput(f"lines.{name}", amount, "rupees >= 0 in whole paise")
    return charges_of(ChargeLine(name, amount, Sureness.VERIFIED) for name, amount in lines.items())


def corrections(booked: Mapping[PositionKey, DayCharges], noted: Charges) -> Corrections:
    """Compares a day's charges with its contract note.

    Args:
        booked: what each position has paid on the day; at least one.
        noted: the note's charges.
    """
    keys = sorted(booked, key=by_name)
    paid = {key: _paise(booked[key].charges) for key in keys}
    wanted = _paise(noted)
    sums = _paise(merged(one.charges for one in booked.values()))
    names = [*(name for name in NAMES if name in sums or name in wanted), *sorted(sums.keys() - set(NAMES))]
    lines = []
    parts: dict[PositionKey, list[ChargeLine]] = {key: [] for key in keys}
    for name in names:
        before, after = sums.get(name, 0), wanted.get(name, 0)
        if before or after:
            lines.append(NoteLine(name, _rupees(before), _rupees(after)))
        weights = [abs(paid[key].get(name, 0)) for key in keys]
        if not any(weights):
            weights = [int(booked[key].turnover * 100) for key in keys]
        for key, share in zip(keys, _shared(after - before, weights), strict=True):
            if share:
                parts[key].append(ChargeLine(name, _rupees(share), Sureness.VERIFIED))
    return Corrections(tuple(lines), {key: charges_of(part) for key, part in parts.items() if part})


def by_name(key: PositionKey) -> tuple[str, str, int]:
    """Sorts the position keys of one account."""
    return key.strategy_id, key.instrument_id, int(key.product)


def _shared(paise: int, weights: list[int]) -> list[int]:
    """Shares of an amount by weight, in whole paise; what rounding leaves goes to the largest remainders."""
    total, sign = sum(weights), 1 if paise >= 0 else -1
    whole = [abs(paise) * weight // total for weight in weights]
    left = abs(paise) - sum(whole)
    order = sorted(range(len(weights)), key=lambda at: (-(abs(paise) * weights[at] % total), at))
    for at in order[:left]:
        whole[at] += 1
    return [sign * share for share in whole]


def _paise(charges: Charges) -> dict[str, int]:
    """Each line in paise; booked lines and a note's are whole."""
    found: dict[str, int] = {}
    for (name, _), units in zip(charges.heads, charges.units, strict=True):
        found[name] = found.get(name, 0) + units // PAISA_UNITS
    return found


def _rupees(paise: int) -> Decimal:
    return Decimal(paise).scaleb(-2)
