"""Text files with separated cells, read by pyarrow."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from alphapanda.domain.errors import InvalidInput
from alphapanda.marketdata.core.recorded.arrow import pyarrow, text
from alphapanda.marketdata.core.recorded.columns import Layout
from alphapanda.marketdata.core.recorded.header import Header, expected, header_of
from alphapanda.marketdata.feeds.files.opening import (
    arrow_stream,
    decoded_head,
    encoding_of,
    in_other_encoding,
    readable,
    text_lines,
    unpacked,
    unreadable,
)
from alphapanda.marketdata.feeds.files.table import Block

_BLOCK_BYTES: Final = 1 << 20
_SEPARATOR_NAMES: Final = {";": "';'", "\t": "tab", "|": "'|'"}


class TextTable:
    """A text file.

    Args:
        file: the file.
        name: how messages name it.
        head: its first bytes, unpacked.
        given: column name or number by role, as the user says.

    Raises:
        InvalidInput: it isn't text, or its columns can't be used.
    """

    def __init__(self, file: Path, name: str, head: bytes, given: Mapping[str, str]) -> None:
        self._file = file
        self._name = name
        with readable(file):
            self._encoding = encoding_of(head)
            self._header: Header = header_of(name, decoded_head(head), given)

    @property
    def form(self) -> str:
        """The file's form in words, such as "CSV, cells apart by ;"."""
        unusual = (
            _SEPARATOR_NAMES.get(self._header.separator, ""),
            "" if self._encoding == "utf-8" else "UTF-16",
            self._header.remark,
        )
        return " ".join(
            filter(None, ("CSV", f"({', '.join(found)})" if (found := [*filter(None, unusual)]) else ""))
        )

    @property
    def layouts(self) -> Sequence[Layout]:
        """The roles of its columns."""
        return self._header.layouts

    def blocks(self, needed: Collection[int]) -> Iterator[Block]:
        """Reads the file in blocks of text."""
        arrow = pyarrow()
        wrong: list[str] = []
        with unpacked(self._file) as content:
            batches = self._batches(content, needed, wrong)
            first_row = 0
            while True:
                try:
                    batch = next(batches, None)
                except arrow.ArrowInvalid as error:
                    raise self._unreadable(error) from None
                if wrong:
                    raise self._wrong_row()
                if batch is None:
                    return
                columns = {at: batch.column(str(at)) for at in needed}
                yield Block(first_row, batch.num_rows, columns)
                first_row += batch.num_rows

    def _batches(self, content: Any, needed: Collection[int], wrong: list[str]) -> Iterator[Any]:
        arrow, arrow_csv = pyarrow(), text()
        names = [str(at) for at in range(len(self._header.names))]

        def handle(row: Any) -> str:
            if row.text.strip():
                wrong.append(row.text)
            return "skip"

        yield from arrow_csv.open_csv(
            arrow_stream(content),
            read_options=arrow_csv.ReadOptions(
                use_threads=False,
                block_size=_BLOCK_BYTES,
                skip_rows=self._header.skipped,
                column_names=names,
                encoding="utf8" if self._encoding == "utf-8" else self._encoding,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self._header.separator, invalid_row_handler=handle
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, arrow.string()),
                include_columns=[str(at) for at in sorted(needed)],
                strings_can_be_null=False,
            ),
        )

    def place(self, row: int) -> str:
        """Where a row stands in the file, for messages: its line."""
        for line, _ in self._rows():
            if row == 0:
                return f"line {line}"
            row -= 1
        return "after the last line"

    def _rows(self) -> Iterator[tuple[int, str]]:
        """The lines that are rows, with their numbers."""
        for line, row in enumerate(text_lines(self._file, self._encoding), 1):
            if line > self._header.skipped and row.strip():
                yield line, row

    def _wrong_row(self) -> InvalidInput:
        columns = len(self._header.names)
        for line, row in self._rows():
            if len(next(csv.reader([row.rstrip("\r\n")], delimiter=self._header.separator), [])) != columns:
                return InvalidInput(
                    f"{self._name}, line {line}, column all", row.rstrip("\r\n"), expected(self._header)
                )
        return InvalidInput("file", self._file, f"rows of {expected(self._header)}")

    def _unreadable(self, error: Exception) -> InvalidInput:
        if "Empty CSV" in str(error):
            return InvalidInput("file", self._file, "a file with rows")
        if "UTF8" in str(error):
            return in_other_encoding(self._file, "CP1252")
        return unreadable(self._file, error)
