"""The size of a recording, and how much of it was read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class Extent:
    """Counts the bytes of a recording's files and those that were read, including bytes read ahead.

    Attributes:
        total: size of all opened files in bytes.
    """

    def __init__(self) -> None:
        self.total = 0
        self._read: list[Callable[[], float]] = []

    def begin(self, file: Path, part: Callable[[], float]) -> None:
        """Adds a file that is being read.

        Args:
            file: the file.
            part: returns the fraction that was read, 0 to 1.
        """
        size = file.stat().st_size
        self.total += size
        self._read.append(lambda: size * part())

    @property
    def read(self) -> float:
        """Bytes read so far."""
        return sum(read() for read in self._read)
