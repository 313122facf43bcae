"""Where each thing lies in a data directory."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The names inside a data directory `root` (absolute).

    `postgres` and `redis` are closed to everybody but the user who runs the process: their sockets ask for no
    password, so the folder is what guards them.
    """

    root: Path

    @property
    def marker(self) -> Path:
        """Says that the folder is ours."""
        return self.root / ".alphapanda"

    @property
    def lock(self) -> Path:
        """Locked by the one process that may use the folder."""
        return self.root / "lock"

    @property
    def wiping(self) -> Path:
        """There while a fresh start removes things, so that one cut short is finished by the next process."""
        return self.root / "wiping"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's cluster and socket."""
        return self.root / "postgres"

    @property
    def postgres_cluster(self) -> Path:
        """What PostgreSQL calls its data directory."""
        return self.postgres / "cluster"

    @property
    def postgres_log(self) -> Path:
        """What PostgreSQL says."""
        return self.logs / "postgres.log"

    @property
    def redis(self) -> Path:
        """Redis' socket and pid file."""
        return self.root / "redis"

    @property
    def redis_pid(self) -> Path:
        """Written and removed by Redis itself."""
        return self.redis / "redis.pid"

    @property
    def redis_log(self) -> Path:
        """What Redis says."""
        return self.logs / "redis.log"

    @property
    def logs(self) -> Path:
        """The children's logs."""
        return self.root / "logs"

    @property
    def event_log(self) -> Path:
        """The folder of the SQLite event log."""
        return self.root / "eventlog"

    @property
    def folders(self) -> tuple[Path, ...]:
        """All that a fresh start removes."""
        return (self.postgres, self.redis, self.logs, self.event_log)
