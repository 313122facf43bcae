"""Waiting until nothing is in work: what a feed faster than real time does between its frames (rule 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from alphapanda.app.process import Room
from alphapanda.trading.store.port import TradingStore

_CLEAN_LOOKS = 2
_PAUSES = (0.0, 0.0, 0.001, 0.002, 0.005, 0.01)


class Barrier:
    """Passes when no group lags, no outbox row waits, no handler runs and no order is open.

    One look goes along the flow, and the flow has a way back (an ended order may let a waiting target through), so
    two clean looks in a row are needed.

    Args:
        rooms: in the order of the flow.
        orders: where open orders are known.
    """

    def __init__(self, rooms: Sequence[Room], orders: TradingStore) -> None:
        self._rooms = rooms
        self._orders = orders

    async def __call__(self) -> None:
        """Waits."""
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
