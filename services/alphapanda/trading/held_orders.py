"""Drives orders that the paper exchange has held, once it has filled or cancelled them."""

from __future__ import annotations

from collections import deque

from alphapanda.trading.driver import OrderDriver
from alphapanda.trading.paper_exchange import PaperExchange
from alphapanda.trading.store.port import TradingStore


class HeldOrders:
    """Settles held orders at the paper exchange when prices have changed, and makes trading know of it.

    Args:
        exchange: the paper exchange.
        store: trading's orders.
        driver: drives orders.
    """

    def __init__(self, exchange: PaperExchange, store: TradingStore, driver: OrderDriver) -> None:
        self._exchange = exchange
        self._store = store
        self._driver = driver
        self._settled: deque[str] | None = None

    async def step(self) -> bool:
        """Settles what can be settled at the present prices, and drives one order of it.

        The first call drives all orders that the exchange has accepted: of those settled by an earlier process trading may
        not know.

        Returns:
            Whether it drove an order; call it again then, after what that has caused.

        Raises:
            Redis' and the database's errors; call it again.
        """
        if self._settled is None:
            await self._exchange.settle()
            self._settled = deque(await self._store.accepted_orders())
        elif not self._settled and (tags := await self._exchange.settle()):
            self._settled.extend(await self._store.orders_of_tags(tags))
        if not self._settled:
            return False
        await self._driver.drive(self._settled[0])
        self._settled.popleft()
        return True
