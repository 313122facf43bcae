"""A data file as blocks of columns, whatever form it has."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from alphapanda.marketdata.core.recorded.columns import Layout


class Block(NamedTuple):
    """Rows of a file.

    Attributes:
        first_row: number of the first, from 0.
        rows: how many there are.
        columns: pyarrow arrays by position of the column.
    """

    first_row: int
    rows: int
    columns: Mapping[int, Any]


class Table(Protocol):
    """A file that was opened and recognised."""

    @property
    def form(self) -> str:
        """What the file is, in words: "CSV"."""

    @property
    def layouts(self) -> Sequence[Layout]:
        """The roles of its columns; several if it has several instruments side by side."""

    def blocks(self, needed: Collection[int]) -> Iterator[Block]:
        """Reads the file from its begin.

        Args:
            needed: positions of the columns.

        Raises:
            InvalidInput: the file can't be read, or a row hasn't the header's cells.
        """

    def place(self, row: int) -> str:
        """Where a row stands, for messages: "line 12"."""
