"""Tables that share a given number of rows: each shows its most important lines and says how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

LEAST_ROWS: Final = 2
"""Of a section: its header and a line."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the picture.

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
        """Rows below its header that it would fill."""
        return max(1, len(self.lines))

    def table(self, rows: int) -> Table:
        """Its header and its first lines, one row each."""
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
    """Rows for each of several that want so many, turn by turn, until all have what they want or nothing is left."""
    given = [0] * len(wanted)
    while room > 0 and given != list(wanted):
        for index, most in enumerate(wanted):
            if given[index] < most and room > 0:
                given[index] += 1
                room -= 1
    return given


def needed(sections: Sequence[Section]) -> int:
    """Rows in which the sections show everything, apart from each other."""
    return sum(section.wanted + 2 for section in sections)


def stacked(sections: Sequence[Section], room: int) -> list[RenderableType]:
    """The sections below each other in exactly so many rows, apart where that costs no line; the first where few fit."""
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
