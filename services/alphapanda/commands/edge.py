"""The edge of every command: an error that nobody foresaw is one line, its traceback goes to a file that the line names."""

from __future__ import annotations

import errno
import logging
import os
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from alphapanda.commands.console import fail
from alphapanda.telemetry.channels import CHANNELS
from alphapanda.telemetry.files import RotatingFile
from alphapanda.telemetry.redaction import redacted

DEFECT: Final = 70
"""Exit code where nothing says what to do: EX_SOFTWARE of sysexits.h."""

REMEDIES: Final = {
    errno.ENOSPC: "the disk is full: free some space, then run it again",
    errno.EDQUOT: "your disk quota is used up: free some space, then run it again",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EACCES: "permission denied: choose another folder or file, or mend its permissions",
    errno.EPERM: "not permitted: choose another folder or file, or mend its permissions",
    errno.EMFILE: "too many open files: run `ulimit -n 4096` first",
    errno.ENFILE: "the system has too many open files: end other programs, then run it again",
    errno.ENOMEM: "out of memory: end other programs, then run it again",
}


def end_unexpected(error: BaseException) -> NoReturn:
    """Says in one line what went wrong, what to do about it, and which file has the traceback; ends the command."""
    known = next((found for found in causes(error) if remedy_of(found) is not None), None)
    written = _write(error)
    where = f"; the traceback is in {written}" if written is not None else ""
    if known is not None:
        named = f" ({known.filename})" if isinstance(known, OSError) and known.filename else ""
        fail(f"{remedy_of(known)}{named}{where}")
    kind, text = type(error).__name__, " ".join(redacted(str(error)).split())
    fail(
        f"unexpected error, {kind}: {text[:500]}{where or '; no file could be written for the traceback'}",
        DEFECT,
    )


def remedy_of(error: BaseException) -> str | None:
    """What to do about an error of the operating system; None where that can't be said."""
    if isinstance(error, MemoryError):
        return REMEDIES[errno.ENOMEM]
    if isinstance(error, OSError) and error.errno is not None:
        return REMEDIES.get(error.errno)
    if "database or disk is full" in str(error):  # SQLite's words; its exception has no errno
        return REMEDIES[errno.ENOSPC]
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, those in its group, and those it came from; each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += list(one.exceptions) if isinstance(one, BaseExceptionGroup) else []
        waiting += [one.__cause__, one.__context__]


def _write(error: BaseException) -> Path | None:
    """Writes the traceback, secrets removed, beside the log where there is one; returns the file, None where none can be written."""
    text = redacted("".join(traceback.format_exception(error)))
    for folder in (*_log_folders(), Path(tempfile.gettempdir())):
        try:
            descriptor, name = tempfile.mkstemp(
                prefix="alphapanda-error-", suffix=".txt", dir=folder, text=True
            )
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError:
            continue
        return Path(name)
    return None


def _log_folders() -> Iterator[Path]:
    for name in ("", *(name for names in CHANNELS.values() for name in names)):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, RotatingFile):
                yield Path(handler.baseFilename).parent
