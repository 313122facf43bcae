"""Errors of an embedded start; each message is one clear line and says what to do.

EmbeddedError
├── DataDirectoryError          the folder can't be used
│   ├── DataDirectoryInUseError      another process holds its lock
│   ├── DataDirectoryForeignError    the folder holds things that are not ours
│   └── DataDirectoryNotWritableError
├── EmbeddedStartFailed         PostgreSQL or Redis didn't come up
├── ClientFailed                pg_dump or pg_restore ended with an error
├── BackupRefused               a backup can't be written there, or can't be restored
├── EventLogUnfit               the event log is missing or damaged, or doesn't belong to the database
├── DatabaseDamaged             PostgreSQL found damage in its files
├── DiskFull                    no space is left
├── SchemaTooNew                a newer version of this program migrated the database
├── StartTimedOut               a part of the start took too long
└── ServerLost                  PostgreSQL or Redis ended and couldn't be started again
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path


class EmbeddedError(Exception):
    """The embedded database, Redis or data directory can't be used."""


class DataDirectoryError(EmbeddedError):
    """The data directory `path` can't be used."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


class DataDirectoryInUseError(DataDirectoryError):
    """Another process holds the directory's lock. `pid`, `started_at` (UTC) and `port` are None where unknown."""

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
    """The folder isn't empty and has no marker of ours; nothing in it is changed."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            f"data directory {path} holds files that Alpha Panda didn't make: "
            "choose an empty folder, or one made by it, with --data-dir",
        )


class DataDirectoryNotWritableError(DataDirectoryError):
    """The folder can't be created or written; `reason` is the operating system's."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            path, f"data directory {path} is not writable ({reason}): choose another with --data-dir"
        )
        self.reason = reason


class EmbeddedStartFailed(EmbeddedError):
    """PostgreSQL or Redis (`component`) didn't start; no process of it is left running.

    `reason` is one line; `log_tail` holds the last lines of its log since the start, `log_path` is the whole log. The
    message is the reason followed by the tail.
    """

    def __init__(self, component: str, reason: str, log_path: Path, log_tail: Sequence[str] = ()) -> None:
        first = f"embedded {component} failed to start: {reason} (log: {log_path})"
        super().__init__("\n  ".join((first, *log_tail)))
        self.component = component
        self.reason = reason
        self.log_path = log_path
        self.log_tail = tuple(log_tail)


class EventLogUnfit(EmbeddedError):
    """The event log at `path` can't be used with the database beside it; `reason` is one line."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(f"event log {path} {reason}: {remedy}")
        self.path = path
        self.reason = reason


class SchemaTooNew(EmbeddedError):
    """The database has a revision of the schema that this program doesn't know."""

    def __init__(self, revision: str, needed: str) -> None:
        super().__init__(
            f"the database's schema is at revision {revision}, which this version doesn't know (it needs {needed}):"
            " install the version that last ran here, or a newer one; or choose another folder with --data-dir"
        )


class StartTimedOut(EmbeddedError):
    """A part of the start wasn't done within its time; `what` is what was waited for."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(
            f"the start waited {seconds:g} s for {what} and gave up:"
            " the log in the data directory says more, and `alphapanda doctor` checks what a start needs"
        )
        self.what = what


class DatabaseDamaged(EmbeddedError):
    """PostgreSQL runs and can't read a page or an index of its own; `reason` is what it said."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the database in {path} is damaged ({reason}): bring back a backup with"
            " `alphapanda restore BACKUP --data-dir FOLDER`, or start over with --fresh, which loses the books"
        )


class DiskFull(EmbeddedError):
    """No space is left on the disk of the data directory `path`."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"no space is left on the disk of {path}: free some (`alphapanda doctor` says how much there is),"
            " or choose another disk with --data-dir"
        )


class ServerLost(EmbeddedError):
    """A server (`component`) that ended couldn't be started again; `reason` is why the last start failed, one line."""

    def __init__(self, component: str, failures: int, reason: str) -> None:
        starts = "1 start" if failures == 1 else f"{failures} starts in a row"
        super().__init__(
            f"{component} ended and could not be started again: {starts} failed, the last because {reason};"
            " remove the cause and run `alphapanda up` again, which goes on where this run ended"
        )
        self.component = component
        self.reason = reason


class ClientFailed(EmbeddedError):
    """A client program of PostgreSQL (`program`) ended with an error; `reason` is its first line."""

    def __init__(self, program: str, reason: str) -> None:
        super().__init__(f"{program} failed: {reason}")
        self.program = program
        self.reason = reason


class BackupRefused(EmbeddedError):
    """A backup can't be written or restored; the message says why and what to do."""
