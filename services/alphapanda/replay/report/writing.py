"""Numbers, dates and table cells of a report."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from html import escape
from typing import Final

from alphapanda.domain import number_text
from alphapanda.domain.number_text import grouped
from alphapanda.replay.figure import Figure, Number, Unit

NOT_DEFINED: Final = "n/a"


class Writer:
    """Writes numbers as in India, or in thousands.

    Args:
        indian: which.
    """

    def __init__(self, *, indian: bool) -> None:
        self.indian = indian

    def rupees(self, value: float | Decimal, places: int = 2, *, signed: bool = False) -> str:
        """An amount."""
        return number_text.rupees(value, places, indian=self.indian, signed=signed)

    def short(self, value: float | Decimal) -> str:
        """An amount in lakh or crore, where it is that large."""
        return number_text.short_rupees(value, indian=self.indian)

    def count(self, value: Number) -> str:
        """A whole number."""
        return grouped(value, indian=self.indian)

    def figure(self, figure: Figure) -> str:
        """A figure's value with its unit."""
        return NOT_DEFINED if figure.value is None else self.number(figure.value, figure.definition.unit)

    def number(self, value: Number, unit: Unit) -> str:
        """A number with its unit."""
        match unit:
            case Unit.FRACTION:
                return f"{grouped(float(value) * 100, 2, indian=self.indian)}%"
            case Unit.RATIO:
                return grouped(value, 2, indian=self.indian)
            case Unit.RUPEES:
                return self.rupees(value)
            case Unit.COUNT:
                return self.count(value)
            case Unit.TRADING_DAYS:
                return f"{self.count(value)} {'day' if value == 1 else 'days'}"


def day_text(day: date | None, absent: str) -> str:
    """A day as 05 Jan 2026."""
    return absent if day is None else f"{day:%d %b %Y}"


def percent(value: float | None) -> str:
    """A return with its sign."""
    return NOT_DEFINED if value is None else f"{value:+.2%}"


def tone(value: float | Decimal | None) -> str:
    """The class of a cell with a gain or a loss."""
    return "" if not value else "good" if value > 0 else "bad"


def table(head: Iterable[str], rows: Iterable[str]) -> str:
    """A table that scrolls where it is too wide."""
    columns = "".join(f"<th>{escape(name)}</th>" for name in head)
    shown_head = f"<thead><tr>{columns}</tr></thead>" if columns else ""
    return f'<div class="wide"><table>{shown_head}<tbody>{"".join(rows)}</tbody></table></div>'


def row(*cells: str | tuple[str, str]) -> str:
    """A row of texts; a cell may be (text, class)."""
    return "<tr>" + "".join(_cell(cell) for cell in cells) + "</tr>"


def _cell(cell: str | tuple[str, str]) -> str:
    text, of = cell if isinstance(cell, tuple) else (cell, "")
    return f'<td class="{of}">{escape(text)}</td>' if of else f"<td>{escape(text)}</td>"
