"""Formats answers for people: rupees, counts, names of enum values, times in India."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from google.protobuf.message import Message
from rich.text import Text

from alphapanda.commands.console import out
from alphapanda.domain import number_text
from alphapanda.domain.number_text import grouped

IST: Final = ZoneInfo("Asia/Kolkata")
UNKNOWN: Final = "-"
UP: Final = "green"
DOWN: Final = "red"


def word(message: Message, field: str) -> str:
    """An enum's value in a person's words: ORDER_STATUS_PARTIALLY_FILLED is "partially filled"; "" where not set."""
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    if enum is None:
        raise TypeError(f"{field} of {message.DESCRIPTOR.name} is no enum")
    number = getattr(message, field)
    known = enum.values_by_number.get(number)
    if known is None:
        return str(number)
    common = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return "" if number == 0 else known.name.removeprefix(common).lower().replace("_", " ")


def amount(owner: Message, field: str) -> Decimal | None:
    """Rupees in a Money or Decimal field; None where it is absent."""
    if not owner.HasField(field):
        return None
    value = getattr(owner, field)
    return Decimal(value.amount.value if hasattr(value, "amount") else value.value)


class Numbers:
    """How numbers are written for people.

    Attributes:
        indian: True as in India, False in thousands; None as in India on a terminal only.
    """

    def __init__(self) -> None:
        self.indian: bool | None = None

    @property
    def are_indian(self) -> bool:
        """Whether numbers are written as in India."""
        return out.is_terminal if self.indian is None else self.indian

    def reset(self) -> None:
        """Goes back to what the console decides."""
        self.indian = None


numbers = Numbers()


def count(value: float, *, signed: bool = False) -> str:
    """A whole number with its digits in groups."""
    return grouped(value, indian=numbers.are_indian, signed=signed)


def things(number: int, one: str, many: str) -> str:
    """How many there are: "1 entry was", "1,200 entries were"."""
    return f"{count(number)} {one if number == 1 else many}"


def grouped_ratio(value: float | Decimal) -> str:
    """A ratio with two places."""
    return grouped(value, 2, indian=numbers.are_indian)


def rupees(value: Decimal | None) -> str:
    """A price or an amount in a column of rupees: two places, digits in groups."""
    return UNKNOWN if value is None else grouped(value, 2, indian=numbers.are_indian)


def money(value: Decimal | None) -> str:
    """An amount that stands alone: with the rupee's sign where numbers are written as in India."""
    return UNKNOWN if value is None else number_text.rupees(value, indian=numbers.are_indian)


def gain(value: Decimal | None, *, alone: bool = False) -> Text:
    """A profit, green, or a loss, red; `alone`: with the rupee's sign, as `money`."""
    if value is None:
        return Text(UNKNOWN, style="dim")
    if value == 0:
        return Text("0.00", style="dim")
    written = number_text.rupees if alone else grouped
    return Text(written(value, 2, indian=numbers.are_indian, signed=True), style=UP if value > 0 else DOWN)


def market_moment(owner: Message, field: str) -> datetime | None:
    """A time as clocks in India show it; None where it is absent."""
    if not owner.HasField(field):
        return None
    found: datetime = getattr(owner, field).ToDatetime(IST)
    return found


def shown_time(at: datetime | None, form: str = "%d %b %H:%M:%S") -> str:
    """Formats a time; a placeholder where there is none."""
    return UNKNOWN if at is None else at.strftime(form)
