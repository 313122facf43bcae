"""Parquet files of bars and ticks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from alphapanda.marketdata.core.recorded.arrow import pyarrow
from alphapanda.marketdata.core.recorded.columns import Layout, layout_of
from alphapanda.marketdata.feeds.files.table import Block
from alphapanda.marketdata.feeds.parquet import readable

_ROWS: Final = 65_536


class ParquetTable:
    """A Parquet file.

    Args:
        file: the file.
        name: how messages name it.
        given: column name or number by role, as the user says.

    Raises:
        InvalidInput: the file can't be read, or its columns can't be used.
    """

    def __init__(self, file: Path, name: str, given: Mapping[str, str]) -> None:
        self._file = file
        with readable(file):
            schema = pyarrow().parquet.read_schema(file)
        self._names: Sequence[str] = schema.names
        with readable(file):
            first = next(pyarrow().parquet.ParquetFile(file).iter_batches(batch_size=1), None)
        cells = None if first is None else [str(column[0].as_py()) for column in first.columns if len(column)]
        self.layouts: Sequence[Layout] = (layout_of(name, self._names, given, clock_in=cells or None),)
        self.form = "Parquet"

    def blocks(self, needed: Collection[int]) -> Iterator[Block]:
        """Reads the file in blocks of rows."""
        names = {at: self._names[at] for at in needed}
        with readable(self._file):
            source: Any = pyarrow().parquet.ParquetFile(self._file)
        batches = source.iter_batches(batch_size=_ROWS, columns=list(dict.fromkeys(names.values())))
        first_row = 0
        while True:
            with readable(self._file):
                batch = next(batches, None)
            if batch is None:
                return
            yield Block(first_row, batch.num_rows, {at: batch.column(name) for at, name in names.items()})
            first_row += batch.num_rows

    def place(self, row: int) -> str:
        """The number of a row, from 1."""
        return f"row {row + 1}"
