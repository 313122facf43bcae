"""Drives orders that the paper exchange has held, once the market has changed them there."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

from alphapanda.domain.frame import Frame
from alphapanda.paper_exchange.exchange import FundsAtFill, PaperExchange, everything_paid
from alphapanda.trading.driver import OrderDriver
from alphapanda.trading.protections import Protections
from alphapanda.trading.store.port import TradingStore


async def _nothing() -> str:
    return ""


class HeldOrders:
    """Settles held orders at the paper exchange when prices have changed, and makes trading know of it.

    Args:
        exchange: the paper exchange.
        store: trading's orders.
        driver: drives orders.
        payable: what an account's funds pay of an order that is about to fill.
        protections: stepped at the present prices once nothing is to be settled; None: there are none.

    Attributes:
        in_lockstep: whether the publisher calls `step` for each frame, before all else; else the exchange follows the frames.
    """

    def __init__(
        self,
        exchange: PaperExchange,
        store: TradingStore,
        driver: OrderDriver,
        payable: FundsAtFill = everything_paid,
        protections: Protections | None = None,
    ) -> None:
        self._in_lockstep = False
        self._exchange = exchange
        self._payable = payable
        self._store = store
        self._driver = driver
        self._protections = protections
        self._settled: deque[str] | None = None

    @property
    def in_lockstep(self) -> bool:
        """Whether `step` is called for each frame."""
        return self._in_lockstep

    @in_lockstep.setter
    def in_lockstep(self, value: bool) -> None:
        self._in_lockstep = value
        if self._protections is not None:
            self._protections.in_lockstep = value

    async def step(self) -> bool:
        """Settles one order that can be settled at the present prices, and drives it; steps a protection where none can.

        The first call drives all orders that the exchange has accepted: of those settled by an earlier process trading may
        not know.

        Returns:
            Whether it did either; call it again then, after what that has caused.

        Raises:
            Redis' and the database's errors; call it again.
        """
        if await self._drive(partial(self._exchange.settle, self._payable)):
            return True
        return self._protections is not None and await self._protections.step()

    async def end(self) -> bool:
        """Cancels one order that is still held, because the recording has ended, and drives it.

        Returns:
            Whether it drove an order; call it again then, after what that has caused.

        Raises:
            The database's errors; call it again.
        """
        return await self._drive(self._exchange.end)

    async def see(self, frame: Frame) -> None:
        """Lets the orders that wait meet the ticks of a frame, and drives those that it has changed.

        Raises:
            The database's errors; the same frame may be shown again.
        """
        while await self._drive(_nothing):
            pass
        async for tag in self._exchange.see(frame, self._payable):
            for order_id in await self._store.orders_of_tags([tag]):
                await self._driver.drive(order_id)

    async def _drive(self, settle: Callable[[], Awaitable[str]]) -> bool:
        if self._settled is None:
            self._settled = deque(await self._store.accepted_orders())
        if not self._settled and (tag := await settle()):
            self._settled.extend(await self._store.orders_of_tags([tag]))
        if not self._settled:
            return False
        await self._driver.drive(self._settled[0])
        self._settled.popleft()
        return True
