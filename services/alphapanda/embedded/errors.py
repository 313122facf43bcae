"""What can go wrong before an embedded process trades; each message is one clear line and says what to do.

EmbeddedError
├── DataDirectoryError          the folder can't be used
│   ├── DataDirectoryInUseError      another process holds its lock
│   ├── DataDirectoryForeignError    the folder holds things that are not ours
│   └── DataDirectoryNotWritableError
└── EmbeddedStartFailed         PostgreSQL or Redis didn't come up
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path


class EmbeddedError(Exception):
    """Anything that keeps an embedded process from having its database, its cache or its folder."""


class DataDirectoryError(EmbeddedError):
    """The data directory can't be used; `path` says which."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


class DataDirectoryInUseError(DataDirectoryError):
    """Another process holds the directory's lock. `pid`, `started_at` (UTC) and `port` are None if it didn't say."""

    def __init__(self, path: Path, pid: int | None, started_at: datetime | None, port: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        since = "" if started_at is None else f", started {started_at:%Y-%m-%d %H:%M:%S} UTC"
        where = "" if port is None else f", port {port}"
        stop = "stop it" if pid is None else f"stop it (kill {pid})"
        super().__init__(
            path,
            f"data directory {path} is in use by {holder}{since}{where}: {stop} or choose another with --data-dir",
        )
        self.pid = pid
        self.started_at = started_at
        self.port = port


class DataDirectoryForeignError(DataDirectoryError):
    """The folder isn't empty and has no marker of ours, so nothing in it is touched."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            f"data directory {path} holds files that Alpha Panda didn't make: "
            "choose an empty folder, or one made by it, with --data-dir",
        )


class DataDirectoryNotWritableError(DataDirectoryError):
    """The folder can't be made or written; `reason` is the operating system's."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            path, f"data directory {path} is not writable ({reason}): choose another with --data-dir"
        )
        self.reason = reason


class EmbeddedStartFailed(EmbeddedError):
    """PostgreSQL or Redis (`component`) didn't come up; nothing of it is left running.

    `reason` is one line; `log_tail` is the last of what it wrote since it was started, `log_path` the whole log. The
    message is the reason and, below it, the tail.
    """

    def __init__(self, component: str, reason: str, log_path: Path, log_tail: Sequence[str] = ()) -> None:
        first = f"embedded {component} failed to start: {reason} (log: {log_path})"
        super().__init__("\n  ".join((first, *log_tail)))
        self.component = component
        self.reason = reason
        self.log_path = log_path
        self.log_tail = tuple(log_tail)
