"""Lockstep: between frames, a feed faster than real time waits until every record is handled (rule 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from alphapanda.app.process import Room
from alphapanda.storage.write_watch import WriteWatch
from alphapanda.trading.store.port import TradingStore

_CLEAN_LOOKS = 2
_PAUSES = (0.0, 0.0, 0.001, 0.002, 0.005, 0.01)


class Barrier:
    """Waits until no group lags, no outbox row is unpublished, no handler runs and no order is open.

    Most frames cause no order: where everything on the log is handled and nothing was written to the database since it was
    last at rest, it still is, and no table needs to be asked.

    Otherwise rooms are checked in the order of the data flow. The flow has a way back (a finished order may release a
    waiting target), so two clean checks in a row are needed.

    Args:
        rooms: the rooms, in the order of the data flow.
        orders: store that knows the open orders.
        writes: tells whether anything was written to the database.
    """

    def __init__(self, rooms: Sequence[Room], orders: TradingStore, writes: WriteWatch) -> None:
        self._rooms = rooms
        self._orders = orders
        self._writes = writes
        self._at_rest: int | None = None

    async def __call__(self) -> None:
        """Waits until the process is at rest."""
        clean = looks = 0
        first: int | None = None
        while clean < _CLEAN_LOOKS:
            if not await self._settled():
                clean = 0
                await asyncio.sleep(_PAUSES[min(looks, len(_PAUSES) - 1)])
                looks += 1
                continue
            mark = await self._writes.mark()
            if mark is not None and mark == self._at_rest:
                return
            if await self._nothing_pending():
                first = mark if clean == 0 else first
                clean += 1
                continue
            clean = 0
            await asyncio.sleep(_PAUSES[min(looks, len(_PAUSES) - 1)])
            looks += 1
        self._at_rest = first if first is not None and first == await self._writes.mark() else None

    async def _settled(self) -> bool:
        """Whether everything on the log is handled."""
        for room in self._rooms:
            for follower in room.followers:
                if not await follower.settled():
                    return False
            for consumer in room.consumers:
                if not consumer.idle() or any((await consumer.lag()).values()):
                    return False
            if room.relay is not None and not room.relay.idle():
                return False
        return True

    async def _nothing_pending(self) -> bool:
        """Whether the database holds nothing that is still to be done."""
        for room in self._rooms:
            if room.relay is not None and await room.relay.pending():
                return False
        return not await self._orders.open_orders()
