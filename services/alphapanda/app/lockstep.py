"""Lockstep: between frames, a feed faster than real time waits until every record is handled (rule 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from alphapanda.app.process import Room
from alphapanda.storage.write_watch import WriteWatch
from alphapanda.trading.store.port import TradingStore

_PAUSES = (0.0, 0.0, 0.0005, *[0.001] * 20, 0.002, 0.005, 0.01)
"""Seconds between two looks: an order takes some ten milliseconds, so a longer pause would be most of its time."""


class Barrier:
    """Waits until no group lags, no outbox row is unpublished, no handler runs and no order's next step needs no frame.

    An order that waits at the exchange for a price holds nothing up.

    Most frames cause no order: where everything on the log is handled and nothing was written to the database since it was
    last at rest, it still is, and no table needs to be asked. Where this process did nothing in the database since then,
    nothing is asked: embedded, no other process writes.

    Otherwise the tables are asked between two looks at the log and at the transaction ids: where both are the same before
    and after, nothing moved from one to the other while they were looked at.

    Args:
        rooms: the rooms, in the order of the data flow.
        orders: store that knows the orders.
        writes: tells whether anything was written to the database.
    """

    def __init__(self, rooms: Sequence[Room], orders: TradingStore, writes: WriteWatch) -> None:
        self._rooms = rooms
        self._orders = orders
        self._writes = writes
        self._at_rest: int | None = None
        self._activity = -1

    async def __call__(self) -> None:
        """Waits until the process is at rest."""
        looks = 0
        while not await self._is_at_rest():
            await asyncio.sleep(_PAUSES[min(looks, len(_PAUSES) - 1)])
            looks += 1

    async def _is_at_rest(self) -> bool:
        if not await self._settled():
            return False
        activity = self._writes.activity
        if activity == self._activity:
            return True
        mark = await self._writes.mark()
        if mark is None:
            return False
        if mark != self._at_rest:
            if not await self._nothing_pending() or not await self._settled():
                return False
            if await self._writes.mark() != mark:
                return False
        self._at_rest, self._activity = mark, activity
        return True

    async def _settled(self) -> bool:
        """Whether everything on the log is handled."""
        for room in self._rooms:
            for follower in room.followers:
                if not await follower.settled():
                    return False
            for consumer in room.consumers:
                if not await consumer.settled():
                    return False
            if room.busy() or (room.relay is not None and not room.relay.idle()):
                return False
        return True

    async def _nothing_pending(self) -> bool:
        """Whether the database holds nothing that is still to be done."""
        for room in self._rooms:
            if room.relay is not None and await room.relay.pending():
                return False
        return not await self._orders.has_orders_under_way()
