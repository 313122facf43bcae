"""A data file as blocks of columns, whatever form it has."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from alphapanda.marketdata.core.recorded.cells import Flags, Whole, empty_cells
from alphapanda.marketdata.core.recorded.columns import Layout


class Block(NamedTuple):
    """Rows of a file.

    Attributes:
        first_row: number of the first, from 0.
        rows: how many there are.
        columns: pyarrow arrays by position of the column.
        numbers: number of each row, where rows were left out; None: they are numbered through.
    """

    first_row: int
    rows: int
    columns: Mapping[int, Any]
    numbers: Whole | None = None

    @property
    def row_numbers(self) -> Whole:
        """The number of each row."""
        return np.arange(self.first_row, self.first_row + self.rows) if self.numbers is None else self.numbers

    def without_empty_rows(self) -> Block:
        """The rows that have any cell; a spreadsheet may write rows of separators alone."""
        empty = np.ones(self.rows, np.bool_)
        for column in self.columns.values():
            empty &= empty_cells(column)
        return self._without(empty)

    def without_headers(self, names: Sequence[str]) -> Block:
        """The rows that don't repeat the header; files that were put behind one another have one each."""
        header = np.ones(self.rows, np.bool_)
        for at, column in self.columns.items():
            header &= np.array([cell == names[at] for cell in column.to_pylist()], np.bool_)
        return self._without(header)

    def _without(self, left_out: Flags) -> Block:
        if not left_out.any():
            return self
        keep = np.flatnonzero(~left_out)
        columns = {at: column.take(keep) for at, column in self.columns.items()}
        return Block(self.first_row, len(keep), columns, self.row_numbers[keep])


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
