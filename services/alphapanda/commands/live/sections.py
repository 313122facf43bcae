"""Tables that share a number of rows: each shows its first lines and the number of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

LEAST_ROWS: Final = 2
"""Fewest rows of a section: its header and one line."""


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the view.

    Attributes:
        title: of its first column.
        columns: the others; ">" before a name sets its figures to the right, "~" lets it be cut where room is short.
        lines: all there are, the most important first.
        empty: what is said where there are none.
        counted: how many there are is said where they are too many.
    """

    title: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str | Text]]
    empty: str
    counted: bool = True

    @property
    def wanted(self) -> int:
        """Number of rows below the header when all lines are shown."""
        return max(1, len(self.lines))

    def table(self, rows: int) -> Table:
        """Draws the header and the first lines, one row each."""
        made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        missing = f" ({rows} of {len(self.lines)})" if self.counted and rows < len(self.lines) else ""
        for name in (self.title + missing, *self.columns):
            cut = name.startswith("~")
            made.add_column(
                Text(name.lstrip(">~"), no_wrap=True, overflow="ellipsis"),
                justify="right" if name.startswith(">") else "left",
                no_wrap=not cut,
            )
        for line in self.lines[:rows]:
            made.add_row(*(_one_line(cell) for cell in line))
        if not self.lines:
            made.add_row(Text(self.empty, style="dim", no_wrap=True))
        return made


def shares(wanted: Sequence[int], room: int) -> list[int]:
    """Divides `room` rows among sections that want so many each: one row to each in turn, until the rows or wants end."""
    given = [0] * len(wanted)
    while room > 0 and given != list(wanted):
        for index, most in enumerate(wanted):
            if given[index] < most and room > 0:
                given[index] += 1
                room -= 1
    return given


def needed(sections: Sequence[Section]) -> int:
    """Number of rows in which all sections are complete, with an empty row between them."""
    return sum(section.wanted + 2 for section in sections)


def stacked(sections: Sequence[Section], room: int) -> list[RenderableType]:
    """Stacks the sections in exactly `room` rows, with empty rows between them only where no line is lost for it."""
    sections = sections[: max(0, room // LEAST_ROWS)]
    given = shares([section.wanted for section in sections], room - len(sections))
    left = room - len(sections) - sum(given)
    apart = left >= len(sections)
    parts: list[RenderableType] = []
    for section, rows in zip(sections, given, strict=True):
        parts.append(section.table(rows))
        if apart:
            parts.append("")
            left -= 1
    return [*parts, *([""] * max(0, left))]


def _one_line(cell: str | Text) -> Text:
    text = Text(cell) if isinstance(cell, str) else cell.copy()
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
