"""The outputs of the log: a stream, and files that are rotated by size and by time."""

from __future__ import annotations

import logging
import os
import stat
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, TextIO

from typing_extensions import override

from alphapanda.telemetry.options import LogRotation
from alphapanda.telemetry.quiet import UnwritableLines

MEGABYTE: Final = 1_000_000
INDIA_AHEAD_SECONDS: Final = 19_800
_HOUR: Final = 3600


class Stream(logging.StreamHandler[TextIO]):
    """A stream, such as standard output.

    Args:
        stream: receives the lines.
        unwritable: reports lines that can't be written.
    """

    def __init__(self, stream: TextIO, unwritable: UnwritableLines) -> None:
        super().__init__(stream)
        self._unwritable = unwritable

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        self._unwritable.failed(getattr(self.stream, "name", "its stream"))


class RotatingFile(RotatingFileHandler):
    """A log file, rotated at its maximum size and with the first line of a new period, counted from midnight in India.

    The period of a file is that of its last line, even where an earlier process wrote that line.

    Args:
        file: path of the log file; rotated files are FILE.1, FILE.2 …
        rotation: size, period, and number of files kept.
        unwritable: reports lines that can't be written.
    """

    def __init__(self, file: Path, rotation: LogRotation, unwritable: UnwritableLines) -> None:
        super().__init__(
            file,
            maxBytes=rotation.max_megabytes * MEGABYTE,
            backupCount=rotation.keep_files,
            encoding="utf-8",
            delay=True,
        )
        self._unwritable = unwritable
        self._measured: tuple[logging.LogRecord, str] | None = None
        self._seconds = rotation.rotate_hours * _HOUR
        self._period = self._written_in() if self._seconds else 0

    @override
    def shouldRollover(self, record: logging.LogRecord) -> bool:
        if self.stream is None:
            self.stream = self._open()
        file = os.fstat(self.stream.fileno())
        if not stat.S_ISREG(file.st_mode):
            return False
        if self._seconds:
            before, now = self._period, self._period_of(record.created)
            if now > before:
                self._period = now
                if before and file.st_size:
                    return True
        return file.st_size + len(self.format(record)) + 1 >= self.maxBytes > 0

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Formats a line once: the base class asks for it again when it writes what `shouldRollover` measured."""
        measured, self._measured = self._measured, None
        if measured is not None and measured[0] is record:
            return measured[1]
        line = super().format(record)
        self._measured = (record, line)
        return line

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        self._unwritable.failed(self.baseFilename)

    def _written_in(self) -> int:
        """Returns the period of the file's last line; 0 where the file is empty."""
        written = Path(self.baseFilename).stat()
        return self._period_of(written.st_mtime) if written.st_size else 0

    def _period_of(self, seconds: float) -> int:
        return int((seconds + INDIA_AHEAD_SECONDS) // self._seconds)
