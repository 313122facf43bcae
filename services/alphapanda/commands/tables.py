"""What all tables of answers share; the commands and the live view show the same ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.table import Table
from rich.text import Text

from alphapanda.commands.wording import (
    DOWN,
    UNKNOWN,
    UP,
)
from alphapanda.telemetry.visible import on_one_line

STATE_STYLES: Final = {
    "serving": UP,
    "running": UP,
    "active": UP,
    "starting": "yellow",
    "reducing": "yellow",
    "not serving": DOWN,
    "halted": DOWN,
    "stopped": "dim",
}


def table(*columns: str) -> Table:
    """A quiet table: ">" before a name sets its figures to the right; a column without a name may wrap."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for column in columns:
        made.add_column(
            column.removeprefix(">"),
            justify="right" if column.startswith(">") else "left",
            no_wrap=bool(column),
            overflow="fold",
        )
    return made


def row(made: Table, *cells: str | Text) -> None:
    """Adds a row; text is shown as it is, whatever it holds, on one line: no caller's text passes for a row of its own."""
    made.add_row(*(Text(on_one_line(cell)) if isinstance(cell, str) else cell for cell in cells))


def remark(text: str, style: str, *, one_line: bool) -> Text:
    """A text at the end of a row: whole, or cut to one line."""
    return Text(text, style=style, no_wrap=one_line, overflow="ellipsis" if one_line else "fold")


def state(text: str) -> Text:
    """A state, with a coloured dot before it."""
    return Text(f"● {text or UNKNOWN}", style=STATE_STYLES.get(text, "yellow"))


def side(text: str) -> Text:
    """A text that begins with "buy" or "sell", in the colour of its direction."""
    return Text(text, style=UP if text.startswith("buy") else DOWN)


def figures(pairs: Iterable[tuple[str, str | Text]]) -> Text:
    """Named figures on one line."""
    line = Text()
    for name, value in pairs:
        line.append("   " if line else "").append(f"{name} " if name else "", style="dim").append(value)
    return line
