"""The layout of a data directory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

INSTRUMENTS_FILE: Final = "instruments.sqlite"
"""The registry of imported instruments. It may be there before the data directory is made, and outlives --fresh."""


def default_data_directory(environ: Mapping[str, str], home: Path) -> Path:
    """Returns `$XDG_DATA_HOME/alphapanda`, or `~/.local/share/alphapanda` (XDG base directory specification).

    A relative XDG_DATA_HOME is ignored, as the specification asks.
    """
    data_home = Path(environ.get("XDG_DATA_HOME", ""))
    return (data_home if data_home.is_absolute() else home / ".local" / "share") / "alphapanda"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths inside the data directory `root` (absolute).

    Only the user who runs the process may enter `postgres` and `redis`: the sockets need no password, so the folder's
    permissions protect them.
    """

    root: Path

    @property
    def marker(self) -> Path:
        """Marks the folder as an Alpha Panda data directory."""
        return self.root / ".alphapanda"

    @property
    def lock(self) -> Path:
        """The lock file, locked by the process that uses the folder."""
        return self.root / "lock"

    @property
    def wiping(self) -> Path:
        """Exists while a fresh start removes files, so that the next process finishes an interrupted one."""
        return self.root / "wiping"

    @property
    def postgres(self) -> Path:
        """Folder of PostgreSQL's cluster and socket."""
        return self.root / "postgres"

    @property
    def postgres_cluster(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.postgres / "cluster"

    @property
    def postgres_log(self) -> Path:
        """PostgreSQL's log."""
        return self.logs / "postgres.log"

    @property
    def redis(self) -> Path:
        """Folder of Redis' socket and pid file."""
        return self.root / "redis"

    @property
    def redis_pid(self) -> Path:
        """Pid file, written and removed by Redis itself."""
        return self.redis / "redis.pid"

    @property
    def redis_log(self) -> Path:
        """Redis' log."""
        return self.logs / "redis.log"

    @property
    def logs(self) -> Path:
        """Folder of the logs."""
        return self.root / "logs"

    @property
    def event_log(self) -> Path:
        """Folder of the SQLite event log."""
        return self.root / "eventlog"

    @property
    def events(self) -> Path:
        """The SQLite event log."""
        return self.event_log / "events.sqlite"

    @property
    def secrets(self) -> Path:
        """Folder of what this data directory alone knows."""
        return self.root / "secrets"

    @property
    def auth_secret(self) -> Path:
        """The secret that tokens are signed with, where `up --auth` made one."""
        return self.secrets / "auth"

    @property
    def session_key(self) -> Path:
        """What access tokens at Zerodha are encrypted with, where `up` made it."""
        return self.secrets / "zerodha"

    @property
    def exchange(self) -> Path:
        """Folder of the stub exchange's books, of `up --demo-zerodha`."""
        return self.root / "exchange"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that a fresh start removes."""
        return (self.postgres, self.redis, self.logs, self.event_log, self.secrets, self.exchange)
