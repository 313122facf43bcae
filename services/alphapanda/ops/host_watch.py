"""Raises alarms while the machine's memory, processors or disk are nearly used up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from alphapanda.resilience.rounds import Rounds
from alphapanda.telemetry.host import HostUse

_log = structlog.get_logger(__name__)

LASTING_SECONDS: Final[Mapping[str, float]] = {"cpu": 60.0}
"""How long a resource that is often used up for a moment has to be so until it is an alarm; the others are at once."""

REMEDIES: Final[Mapping[str, str]] = {
    "memory": "stop what else runs here, or give the machine more",
    "cpu": "stop what else runs here, or spread the services over more machines",
    "disk": "delete what isn't needed, or move the data to a larger disk; a full one stops trading",
}


class HostWatch:
    """Looks at the machine periodically; logs an alarm when it begins and when it ends.

    Args:
        read: reads the used shares; blocks.
        allowed: largest share without an alarm, by resource: memory, cpu, disk.
        interval_seconds: seconds between two looks.
        elapsed: monotonic time in seconds.

    Attributes:
        rounds: the looks.
        use: the used shares by resource at the last look.
    """

    def __init__(
        self,
        read: Callable[[], HostUse],
        allowed: Mapping[str, float],
        interval_seconds: float,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._elapsed = elapsed
        self._read = read
        self._allowed = allowed
        self._over_since: dict[str, float] = {}
        self._alarms: tuple[str, ...] = ()
        self.use: Mapping[str, float] = {}
        self.rounds = Rounds("host watch", self.look, interval_seconds, _log, at_once=True)

    @property
    def alarms(self) -> Sequence[str]:
        """The resources that are nearly used up."""
        return self._alarms

    def notices(self) -> Sequence[str]:
        """What a person should know about the machine now, in sentences."""
        return [
            f"{self.use[name]:.0%} of the machine's {name} is used, {self._allowed[name]:.0%} is allowed: {REMEDIES[name]}"
            for name in self.alarms
        ]

    async def look(self) -> None:
        """Looks once.

        Raises:
            OSError: the disk can't be read.
        """
        before, at = set(self._alarms), self._elapsed()
        self.use = (await asyncio.to_thread(self._read)).by_resource
        for name, share in self.use.items():
            if share <= self._allowed[name]:
                self._over_since.pop(name, None)
            else:
                self._over_since.setdefault(name, at)
        self._alarms = tuple(
            name for name, since in self._over_since.items() if at - since >= LASTING_SECONDS.get(name, 0.0)
        )
        now = set(self._alarms)
        for name in sorted(now - before):
            _log.error(
                "host.resource_ran_short",
                alarm=True,
                resource=name,
                used=round(self.use[name], 3),
                allowed=self._allowed[name],
                remedy=REMEDIES[name],
            )
        for name in sorted(before - now):
            _log.warning("host.resource_recovered", resource=name, used=round(self.use.get(name, 0.0), 3))
