"""The outputs of the log: a stream, and files that are rotated by size and by time."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, TextIO

from typing_extensions import override

from alphapanda.telemetry.kept_files import Rotated, compress_next, parts_of, rotated_files, surplus
from alphapanda.telemetry.options import LogRotation
from alphapanda.telemetry.quiet import UnwritableLines

MEGABYTE: Final = 1_000_000
INDIA_AHEAD_SECONDS: Final = 19_800
DAY: Final = 86_400
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

    The period of a file is that of its last line, even where an earlier process wrote that line. Old rotated files are
    compressed by a thread of its own, at the start and after each rotation: nobody waits for it.

    Args:
        file: path of the log file; rotated files are FILE.1, FILE.2 …, compressed ones FILE.8.gz …
        rotation: size, period, and which files are kept.
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
        self._rotation = rotation
        self._compressing: threading.Thread | None = None
        self._unwritable = unwritable
        self._measured: tuple[logging.LogRecord, str] | None = None
        self._seconds = rotation.rotate_hours * _HOUR
        self._period = self._written_in() if self._seconds else 0
        for part in parts_of(file):  # of a process that was killed while it compressed
            part.unlink(missing_ok=True)
        self._tidy()

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
    def doRollover(self) -> None:
        """Sets the file aside as FILE.1, the older ones by one number each, and deletes what isn't kept any more."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        file = Path(self.baseFilename)
        for one in reversed(rotated_files(file)):
            one.path.rename(one.numbered(file, one.number + 1))
        if file.exists():
            file.rename(f"{file}.1")
        self._tidy()
        self.stream = self._open()

    def _tidy(self) -> None:
        """Deletes rotated files that aren't kept any more, and has old ones compressed."""
        file, now = Path(self.baseFilename), time.time()
        for one in surplus(rotated_files(file), self._rotation, now):
            one.path.unlink(missing_ok=True)
        busy = self._compressing is not None and self._compressing.is_alive()
        if busy or not any(self._is_to_compress(one, now) for one in rotated_files(file)):
            return
        self._compressing = threading.Thread(target=self._compress, name="compress logs", daemon=True)
        self._compressing.start()

    def _is_to_compress(self, one: Rotated, now: float) -> bool:
        days = self._rotation.compress_days
        return bool(days) and not one.compressed and now - one.written_at > days * DAY

    def _compress(self) -> None:
        """Compresses old files one after the other; what fails stays as it is until the next rotation."""
        file = Path(self.baseFilename)
        with suppress(OSError):
            while compress_next(file, lambda one: self._is_to_compress(one, time.time()), self.lock):
                pass

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
