"""A database engine with connections of their own for each lane, so that a flood of calls takes none from the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import override

from alphapanda.resilience.lanes import Lane, current_lane

URGENT_CONNECTIONS: Final = 2
"""Kept open for urgent calls; as many again may be opened."""


def pool_size_of(lane: Lane, pool_size: int) -> int:
    """Returns how many connections a lane keeps open, where the service's own work has `pool_size`."""
    match lane:
        case Lane.SERVICE:
            return pool_size
        case Lane.QUERY:
            return max(pool_size // 3, 2)
        case Lane.COMMAND:
            return max(pool_size // 2, 2)
        case Lane.URGENT:
            return URGENT_CONNECTIONS


class LanedEngine(AsyncEngine):
    """An engine whose connections come from the pool of the current task's lane.

    Args:
        engines: an engine for each lane, on the same database.
    """

    def __init__(self, engines: Mapping[Lane, AsyncEngine]) -> None:
        super().__init__(engines[Lane.SERVICE].sync_engine)
        self._engines = engines

    @override
    def connect(self) -> AsyncConnection:
        return self._engines[current_lane.get()].connect()

    @override
    def execution_options(self, **options: Any) -> AsyncEngine:
        return LanedEngine(
            {lane: engine.execution_options(**options) for lane, engine in self._engines.items()}
        )

    @override
    async def dispose(self, close: bool = True) -> None:
        for engine in self._engines.values():
            await engine.dispose(close)
