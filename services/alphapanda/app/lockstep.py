"""Lockstep: between frames, a feed faster than real time waits until every record is handled (rule 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from alphapanda.app.process import Room
from alphapanda.trading.store.port import TradingStore

_CLEAN_LOOKS = 2
_PAUSES = (0.0, 0.0, 0.001, 0.002, 0.005, 0.01)


class Barrier:
    """Waits until no group lags, no outbox row is unpublished, no handler runs and no order is open.

    Rooms are checked in the order of the data flow. The flow has a way back (a finished order may release a waiting
    target), so two clean checks in a row are needed.

    Args:
        rooms: the rooms, in the order of the data flow.
        orders: store that knows the open orders.
    """

    def __init__(self, rooms: Sequence[Room], orders: TradingStore) -> None:
        self._rooms = rooms
        self._orders = orders

    async def __call__(self) -> None:
        """Waits until the process is at rest."""
        clean = looks = 0
        while clean < _CLEAN_LOOKS:
            if await self._at_rest():
                clean += 1
                continue
            clean = 0
            await asyncio.sleep(_PAUSES[min(looks, len(_PAUSES) - 1)])
            looks += 1

    async def _at_rest(self) -> bool:
        for room in self._rooms:
            for follower in room.followers:
                if not await follower.settled():
                    return False
            for consumer in room.consumers:
                if not consumer.idle() or any((await consumer.lag()).values()):
                    return False
            if room.relay is not None and (not room.relay.idle() or await room.relay.pending()):
                return False
        return not await self._orders.open_orders()
