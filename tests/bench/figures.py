"""One line of the report."""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    """A figure as measured.

    Attributes:
        card: its line of the score card, such as "P6".
        what: what was measured.
        ours: our side, with its unit.
        peer: the other side, with its unit; empty where there is none.
        ratio: what the bar is about; None where there is no bar.
        bar: the bar, in words; empty where there is none.
        reached: None where there is no bar or nothing to measure against.
        note: what else has to be known to read it.
    """

    card: str
    what: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    bar: str = ""
    reached: bool | None = None
    note: str = ""
