"""Formats answers for people: rupees, names of enum values, times in India."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from google.protobuf.message import Message
from rich.text import Text

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


def rupees(value: Decimal | None) -> str:
    """An amount with two places and thousands apart."""
    return UNKNOWN if value is None else f"{value:,.2f}"


def gain(value: Decimal | None) -> Text:
    """A profit, green, or a loss, red."""
    if value is None:
        return Text(UNKNOWN, style="dim")
    if value == 0:
        return Text("0.00", style="dim")
    return Text(f"{value:+,.2f}", style=UP if value > 0 else DOWN)


def market_moment(owner: Message, field: str) -> datetime | None:
    """A time as clocks in India show it; None where it is absent."""
    if not owner.HasField(field):
        return None
    found: datetime = getattr(owner, field).ToDatetime(IST)
    return found


def shown_time(at: datetime | None, form: str = "%d %b %H:%M:%S") -> str:
    """Formats a time; a placeholder where there is none."""
    return UNKNOWN if at is None else at.strftime(form)
