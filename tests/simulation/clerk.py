"""A person who cancels and modifies orders, by any process that is up; a command without an answer is repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from tests.simulation.loop import Condition, heard
from tests.simulation.services import BROKER, Mesh
from tests.simulation.world import World

from alphapanda.contract.wire import decimal
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import OrderStatus
from alphapanda.mesh.errors import FailedPrecondition, NotFound
from alphapanda.trading.api import TradingApi
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.protection_record import ProtectionState
from panda.trading.v1 import protections_pb2, trading_pb2

_RESTING = (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)
_REFUSED = (InvalidInput, FailedPrecondition, NotFound)
Command = Callable[[TradingApi, Any], Awaitable[object]]


class Clerk:
    """The person.

    Args:
        world: where they are.
        mesh: the processes.
        chance: what they think of.
    """

    def __init__(self, world: World, mesh: Mesh, chance: Random) -> None:
        self._world = world
        self._mesh = mesh
        self._chance = chance
        self._commands = 0

    async def works(self, number: int, signals: Sequence[float]) -> None:
        """Asks for so many changes, each some moment after a signal.

        Args:
            number: of changes.
            signals: when signals are made, virtual seconds.
        """
        for at in sorted(self._chance.choice(signals) + self._chance.random() * 4 for _ in range(number)):
            await asyncio.sleep(max(0.0, at - self._world.loop.time()))
            await self._asks()

    async def clears(self) -> None:
        """Cancels all orders, and ends all protections."""
        await self._says(
            "CancelAllOrders", trading_pb2.CancelAllOrdersRequest(broker=BROKER, even_if_unknown=True)
        )
        for kept in list(self._mesh.trading_store._tables.protections.values()):
            record = kept.stored.record
            if record.state is not ProtectionState.ENDED:
                await self._says(
                    "CancelProtection",
                    protections_pb2.CancelProtectionRequest(order_id=record.protection_id),
                )

    async def _asks(self) -> None:
        chance = self._chance
        order = await self._an_order()
        if order is None:
            return
        match chance.randrange(10):
            case 0:
                await self._says(
                    "CancelAllOrders", trading_pb2.CancelAllOrdersRequest(broker=BROKER, even_if_unknown=True)
                )
            case 1 | 2 | 3:
                await self._says("CancelOrder", trading_pb2.CancelOrderRequest(order_id=order.order_id))
            case 5 if self._mesh.protects:
                await self._says(
                    "CancelProtection", protections_pb2.CancelProtectionRequest(order_id=order.order_id)
                )
            case _:
                await self._says("ModifyOrder", self._modification(order))

    async def _an_order(self) -> Order | None:
        """One that rests, if one does within some seconds; else one that is open, or any."""
        for _ in range(12):
            orders = [one.order for one in self._mesh.trading_store._tables.orders.values()]
            resting = [order for order in orders if order.status in _RESTING and order.terms.rests]
            if resting:
                return self._chance.choice(resting)
            if self._chance.random() < 0.1:
                break
            await asyncio.sleep(1.0)
        still_open = [order for order in orders if not order.status.is_final]
        return self._chance.choice(still_open or orders) if orders else None

    def _modification(self, order: Order) -> trading_pb2.ModifyOrderRequest:
        """Fewer or more units, other prices, or both."""
        chance, terms = self._chance, order.terms
        request = trading_pb2.ModifyOrderRequest(order_id=order.order_id)
        if chance.random() < 0.6 or not terms.rests:
            request.quantity = max(1, order.quantity + chance.choice((-15, -5, -2, 3)))
        if terms.rests and chance.random() < 0.7:
            level = terms.limit_price or terms.trigger_price
            assert level is not None
            price = decimal(level + chance.randrange(-8, 9))
            if terms.limit_price is not None:
                request.limit_price.CopyFrom(price)
            if terms.trigger_price is not None:
                request.trigger_price.CopyFrom(price)
        return request

    async def _says(self, method: str, request: Any) -> None:
        """Repeats a command until it has an answer."""
        world = self._world
        self._commands += 1
        request.request_id = f"command {self._commands}"
        about = world.named(getattr(request, "order_id", ""))
        world.tell(f"person: {method} {about}".rstrip(), effect=_in_short(request))
        while True:
            up = [pair for pair in self._mesh.trading_rpcs.values() if pair[0].condition is Condition.RUNNING]
            if up:
                process, api = self._chance.choice(up)
                asked = world.loop.spawn(process, getattr(api, method)(request, None))
                asked.add_done_callback(heard)
                done, _ = await asyncio.wait([asked], timeout=15.0)
                if done and not asked.cancelled():
                    error = asked.exception()
                    if error is None:
                        world.tell(f"person: {method} {about} is answered")
                        return
                    if isinstance(error, _REFUSED):
                        world.tell(f"person: {method} {about} is refused", effect=str(error)[:80])
                        return
            await asyncio.sleep(1.0)


def _in_short(request: Any) -> str:
    if not isinstance(request, trading_pb2.ModifyOrderRequest):
        return ""
    price = request.limit_price.value or request.trigger_price.value
    return f"{request.quantity or 'as many'} at {price or 'the same price'}"
