"""What the process and its machine use: memory, processors, disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

CGROUP: Final = Path("/sys/fs/cgroup")
_MEMORY_FILES: Final = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Of cgroups 2 and 1: limit, usage, statistics, and the name of the cache that is given up at need."""


@dataclass(frozen=True, slots=True)
class HostUse:
    """Used shares, 0 to 1.

    Attributes:
        memory: of the machine, or of the container's limit where that is fuller.
        cpu: of all processors since the reading before; None at the first.
        disk: of the file system.
    """

    memory: float
    cpu: float | None
    disk: float

    @property
    def by_resource(self) -> dict[str, float]:
        """The known shares by the resource's name."""
        known = {"memory": self.memory, "cpu": self.cpu, "disk": self.disk}
        return {name: share for name, share in known.items() if share is not None}


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What the process uses now: resident bytes, descriptors, threads, processors since the reading before (None at the first)."""

    memory: int
    descriptors: int
    threads: int
    cpu: float | None


class HostReader:
    """Reads what the machine uses.

    Args:
        disk: a path on the file system to watch.
        cgroup: where the system mounts control groups.
    """

    def __init__(self, disk: Path, cgroup: Path = CGROUP) -> None:
        self._disk = disk
        self._cgroup = cgroup
        self._before: tuple[float, float] | None = None

    def read(self) -> HostUse:
        """Returns the used shares. Blocks for as long as the file system takes to answer.

        Raises:
            OSError: the disk can't be read.
        """
        memory = max(psutil.virtual_memory().percent / 100, container_share(self._cgroup))
        return HostUse(memory, self._cpu(), psutil.disk_usage(str(self._disk)).percent / 100)

    def _cpu(self) -> float | None:
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0)
        before, self._before = self._before, (busy, sum(times))
        if before is None or self._before[1] <= before[1]:
            return None
        return min(max((busy - before[0]) / (self._before[1] - before[1]), 0.0), 1.0)


class ProcessReader:
    """Reads what this process uses."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()

    def read(self) -> ProcessUse:
        """Returns what it uses now."""
        with self._process.oneshot():
            return ProcessUse(
                self._process.memory_info().rss,
                self._process.num_fds(),
                self._process.num_threads(),
                self._process.cpu_percent() / 100,
            )


def container_share(cgroup: Path) -> float:
    """Returns the used share of a container's memory limit; 0 where there is none or it can't be read."""
    for limit, usage, statistics, cache in _MEMORY_FILES:
        try:
            allowed = (cgroup / limit).read_text().strip()
            if not allowed.isdigit():
                return 0.0
            lines = (cgroup / statistics).read_text().splitlines()
            cached = next((int(line.split()[1]) for line in lines if line.startswith(f"{cache} ")), 0)
            return max(int((cgroup / usage).read_text()) - cached, 0) / int(allowed)
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return 0.0
