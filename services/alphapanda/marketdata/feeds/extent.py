"""How much of a recording there is, and how far it has been read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class Extent:
    """The bytes of a recording's files, as they lie on the disk; what is read ahead counts as read.

    Attributes:
        total: of all files that were begun.
    """

    def __init__(self) -> None:
        self.total = 0
        self._read: list[Callable[[], float]] = []

    def begin(self, file: Path, part: Callable[[], float]) -> None:
        """A file is read from now on.

        Args:
            file: it.
            part: how much of it has been read, 0 to 1.
        """
        size = file.stat().st_size
        self.total += size
        self._read.append(lambda: size * part())

    @property
    def read(self) -> float:
        """Bytes read so far."""
        return sum(read() for read in self._read)
