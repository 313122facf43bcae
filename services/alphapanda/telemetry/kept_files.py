"""The rotated files beside a log file: which there are, which are kept, and how old ones are compressed."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alphapanda.telemetry.options import LogRotation

_DAY: Final = 86_400
_PART: Final = ".part"


@dataclass(frozen=True, slots=True)
class Rotated:
    """A rotated file.

    Attributes:
        path: FILE.n or FILE.n.gz.
        number: n; 1 is the newest.
        written_at: when its last line was written, seconds since the epoch.
    """

    path: Path
    number: int
    written_at: float

    @property
    def compressed(self) -> bool:
        """Whether it is compressed."""
        return self.path.suffix == ".gz"

    def numbered(self, file: Path, number: int) -> Path:
        """Its path under another number."""
        return Path(f"{file}.{number}{'.gz' if self.compressed else ''}")


def rotated_files(file: Path) -> list[Rotated]:
    """The rotated files of a log file, the newest first."""
    name = re.compile(rf"{re.escape(file.name)}\.(\d{{1,6}})(\.gz)?")
    found = [
        Rotated(path, int(known[1]), path.stat().st_mtime)
        for path in file.parent.iterdir()
        if (known := name.fullmatch(path.name))
    ]
    return sorted(found, key=lambda one: one.number)


def surplus(files: Sequence[Rotated], rotation: LogRotation, now: float) -> Iterable[Rotated]:
    """The files that aren't kept any more: beyond `keep_files`, and older than `keep_days`."""
    return [one for one in files[rotation.keep_files :] if now - one.written_at >= rotation.keep_days * _DAY]


def parts_of(file: Path) -> Iterable[Path]:
    """Files that were being compressed."""
    return file.parent.glob(f"{file.name}.*{_PART}")


def compress_next(
    file: Path, wanted: Callable[[Rotated], bool], lock: AbstractContextManager[Any] | None
) -> bool:
    """Compresses one rotated file; returns whether there was one. It keeps the time of its last line.

    A rotation may give it another number meanwhile; only the exchange of the two files holds the lock.

    Args:
        file: the log file.
        wanted: whether a rotated file is to be compressed.
        lock: held while files get other numbers.

    Raises:
        OSError: it can't be written; the file is as it was.
    """
    held = lock or nullcontext()
    with held:
        chosen = next((one for one in rotated_files(file) if not one.compressed and wanted(one)), None)
    if chosen is None:
        return False
    part = Path(f"{chosen.path}{_PART}")
    try:
        with chosen.path.open("rb") as plain, gzip.open(part, "wb") as small:
            known = os.fstat(plain.fileno())
            shutil.copyfileobj(plain, small, 1 << 20)
        os.utime(part, ns=(known.st_atime_ns, known.st_mtime_ns))
        with held:
            for one in rotated_files(file):
                if one.path.stat().st_ino == known.st_ino:
                    part.rename(f"{one.path}.gz")
                    one.path.unlink()
    finally:
        part.unlink(missing_ok=True)
    return True
