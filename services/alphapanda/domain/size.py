"""The size of a full position: units, rupees, or percent of the account's balance."""

from __future__ import annotations

import re
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from alphapanda.domain.errors import InvalidInput

ALLOWED: Final = (
    "units such as 100, rupees such as 50000INR or ₹50,000, or percent of the balance such as 10%"
)
_MOST: Final = {"INR": Decimal(10) ** 12, "%": Decimal(1000)}
_FORM: Final = re.compile(
    r"\s*(?P<before>₹|INR|Rs\.?)?\s*(?P<amount>\d[\d,]{0,20}(?:\.\d{1,4})?)\s*(?P<after>INR|₹|%)?\s*",
    re.IGNORECASE,
)


class SizeUnit(StrEnum):
    """What a size is measured in."""

    UNITS = ""
    RUPEES = "INR"
    PERCENT = "%"


class Size(NamedTuple):
    """A size; its text is what every field named `size` holds, such as "50000INR" or "10%"."""

    amount: Decimal
    unit: SizeUnit

    @property
    def text(self) -> str:
        """The size as text that `parse_size` reads."""
        return f"{self.amount.normalize():f}{self.unit.value}"

    def rupees(self, balance: Decimal) -> Decimal:
        """The value of a full position in rupees, of an account with this balance; not for units."""
        return self.amount if self.unit is SizeUnit.RUPEES else balance * self.amount / 100


def parse_size(text: str, field: str) -> Size:
    """Reads a size.

    Raises:
        InvalidInput: it is no size; the error names `field`.
    """
    found = _FORM.fullmatch(text)
    if found is None or (found["before"] and found["after"]):
        raise InvalidInput(field, text, ALLOWED)
    amount = Decimal(found["amount"].replace(",", ""))
    if not found["before"] and not found["after"]:
        if amount != int(amount) or not 0 < amount <= 10**9:
            raise InvalidInput(field, text, ALLOWED)
        return Size(amount, SizeUnit.UNITS)
    unit = SizeUnit.PERCENT if found["after"] == "%" else SizeUnit.RUPEES
    if not 0 < amount <= _MOST[unit.value]:
        raise InvalidInput(field, text, f"above 0, at most {_MOST[unit.value]:f}{unit.value}")
    return Size(amount, unit)


def size_text(text: str, field: str) -> str:
    """A size in rupees or percent in its usual form, such as "50000INR" for "₹50,000".

    Raises:
        InvalidInput: it is no size, or is units.
    """
    size = parse_size(text, field)
    if size.unit is SizeUnit.UNITS:
        raise InvalidInput(field, text, "rupees such as 50000INR, or percent of the balance such as 10%")
    return size.text


def units_or_size(text: str, field: str) -> tuple[int, str]:
    """What a person gave as quantity: (units, ""), or (0, the size).

    Raises:
        InvalidInput: it is neither.
    """
    size = parse_size(text, field)
    return (int(size.amount), "") if size.unit is SizeUnit.UNITS else (0, size.text)
