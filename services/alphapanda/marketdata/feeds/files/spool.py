"""Keeps rows in memory, and in an unnamed temporary file what is too much for it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from alphapanda.domain.errors import InvalidInput
from alphapanda.marketdata.core.recorded.rows import COLUMNS, NO_ROWS, Rows

ROWS_IN_MEMORY: Final = 1 << 21
"""Rows of all files together that are held in memory; a row has 72 bytes."""

_ROW_BYTES: Final = COLUMNS * 8


class Run:
    """Rows that were put aside, in order.

    Attributes:
        rows: how many there are.
    """

    def __init__(self, held: Rows, file: Any, offset: int, rows: int) -> None:
        self._held = held
        self._file = file
        self._offset = offset
        self._change: Callable[[Rows], None] = lambda _: None
        self.rows = rows

    def set(self, change: Callable[[Rows], None]) -> None:
        """Sets a function that changes rows in place: those in memory now, others when they are read."""
        if self._file is None:
            change(self._held)
        else:
            self._change = change

    def read(self, begin: int, end: int) -> Rows:
        """The rows from one number to another; they aren't to be changed."""
        if self._file is None:
            return self._held[begin:end]
        self._file.seek(self._offset + begin * _ROW_BYTES)
        made: Rows = np.empty((end - begin, COLUMNS), np.int64)
        self._file.readinto(made.data)
        self._change(made)
        return made


class Spool:
    """Puts rows aside.

    Args:
        rows_in_memory: how many rows are held in memory at most.
    """

    def __init__(self, rows_in_memory: int = ROWS_IN_MEMORY) -> None:
        self._room = rows_in_memory
        self._file: Any = None

    def add(self, rows: Rows) -> Run:
        """Puts rows aside.

        Raises:
            InvalidInput: the temporary folder has no room for them.
        """
        self._room -= len(rows)
        if self._room >= 0:
            return Run(rows, None, 0, len(rows))
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as its runs
            offset = self._file.seek(0, 2)
            self._file.write(np.ascontiguousarray(rows).data)
            self._file.flush()
        except OSError as error:
            raise InvalidInput(
                "TMPDIR",
                tempfile.gettempdir(),
                f"a folder with room for {_ROW_BYTES} bytes a row ({error.strerror})",
            ) from None
        return Run(NO_ROWS, self._file, offset, len(rows))
