"""Raises alarms while the machine's memory, processors or disk are nearly used up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from alphapanda.resilience.rounds import Rounds
from alphapanda.telemetry.host import HostUse

_log = structlog.get_logger(__name__)

LASTING: Final[Mapping[str, int]] = {"cpu": 2}
"""Rounds in a row after which a resource that is often used up for a moment is an alarm; the others are at once."""

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

    Attributes:
        rounds: the looks.
        use: the used shares by resource at the last look.
    """

    def __init__(
        self, read: Callable[[], HostUse], allowed: Mapping[str, float], interval_seconds: float
    ) -> None:
        self._read = read
        self._allowed = allowed
        self._over: dict[str, int] = {}
        self.use: Mapping[str, float] = {}
        self.rounds = Rounds("host watch", self.look, interval_seconds, _log, at_once=True)

    @property
    def alarms(self) -> Sequence[str]:
        """The resources that are nearly used up."""
        return [name for name, rounds in self._over.items() if rounds >= LASTING.get(name, 1)]

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
        before = set(self.alarms)
        self.use = (await asyncio.to_thread(self._read)).by_resource
        for name, share in self.use.items():
            self._over[name] = self._over.get(name, 0) + 1 if share > self._allowed[name] else 0
        now = set(self.alarms)
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
