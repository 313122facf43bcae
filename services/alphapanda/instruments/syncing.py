"""Brings what the user has imported into the service's database, at the start and while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Final

import structlog

from alphapanda.domain.instrument import Instrument
from alphapanda.instruments.merging import recovered
from alphapanda.instruments.registry import InstrumentRegistry, State
from alphapanda.instruments.store.port import InstrumentStore, directory_of
from alphapanda.resilience.tasks import kept_running

LOOK_EVERY_SECONDS: Final = 2.0
_log: Final = structlog.get_logger(__name__)


async def recover(registry: InstrumentRegistry, store: InstrumentStore, shipped: Iterable[Instrument]) -> int:
    """Makes the registry's file anew from the database where it is missing, as on a machine where a backup was restored.

    Returns:
        How many instruments were recovered.
    """
    if registry.file.exists():
        return 0
    known = {one.instrument_id for one in shipped}
    lost = [one for one in await directory_of(store) if one.instrument_id not in known]
    if lost:
        registry.store(recovered(lost), State(), "the database", 0, datetime.now(UTC))
        _log.warning("instruments.recovered", instruments=len(lost))
    return len(lost)


class RegistrySync:
    """Stores the registry's instruments in the database whenever an import has changed them.

    Args:
        registry: the user's instruments.
        store: the service's database.
        today: returns the current day in India.
        waits: whether the start waits until the database has what was imported before it.
        changed: called with the instruments that an import has changed, when the database has them.
        seconds: how often the registry is looked at.
    """

    def __init__(
        self,
        registry: InstrumentRegistry,
        store: InstrumentStore,
        today: Callable[[], date],
        *,
        waits: bool,
        changed: Callable[[Iterable[Instrument]], None] = lambda _: None,
        seconds: float = LOOK_EVERY_SECONDS,
    ) -> None:
        self._waits = waits
        self._changed = changed
        self._registry = registry
        self._store = store
        self._today = today
        self._seconds = seconds
        self._stored = 0
        self._syncing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Stores what was imported before, and is imported from now on.

        Raises:
            InvalidInput: the registry can't be read.
        """
        if self._waits:
            await self.sync()
        self._task = kept_running(self._watch, "instruments.sync", _log)

    async def stop(self) -> None:
        """Stops looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._registry.close()

    async def sync(self) -> int:
        """Stores what is new since the last call; returns how many instruments differed from the database.

        Raises:
            InvalidInput: the registry can't be read.
        """
        async with self._syncing:
            return await self._sync()

    async def _sync(self) -> int:
        state = await asyncio.to_thread(self._registry.state)
        if state.number == self._stored:
            return 0
        wanted = await asyncio.to_thread(self._registry.current)
        known = await directory_of(self._store)
        different = [one for one in wanted if known.by_id(one.instrument_id) != one]
        if different:
            await self._store.upsert(different, self._today())
            self._changed(different)
            _log.info("instruments.imported", instruments=len(different), number=state.number)
            await self._store.prepare_search()
        self._stored = state.number
        return len(different)

    async def _watch(self) -> None:
        while True:
            await self.sync()
            await asyncio.sleep(self._seconds)
