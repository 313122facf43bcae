"""Follows orders at brokers that tell of changes: what a trader says is a hint, and makes trading read the order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog

from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line, is_transient
from alphapanda.resilience.tasks import kept_running
from alphapanda.trading.driver import OrderDriver
from alphapanda.trading.execution_context import Step, no_step
from alphapanda.trading.store.port import TradingStore
from alphapanda.trading.traders.trader import Trader

_READ_TOGETHER: Final = 100
_log = structlog.get_logger(__name__)


class OrderHints:
    """Drives the orders of which traders tell that they may have changed, however often they are told of.

    A hint that comes while its order is read is not lost: the order is read again.

    Args:
        store: finds the orders of tags.
        driver: drives orders.
        traders: those that tell.
        at: called with the name of each step of a hint (told, found, read); for tests.
    """

    def __init__(
        self, store: TradingStore, driver: OrderDriver, traders: Iterable[Trader], at: Step = no_step
    ) -> None:
        self._at = at
        self._store = store
        self._driver = driver
        self._told: dict[str, None] = {}
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        for trader in traders:
            trader.follow(self.changed)

    def changed(self, _account: str, tag: str) -> None:
        """Notes that the order with a tag may have changed; never blocks."""
        self._told[tag] = None
        self._woken.set()

    async def start(self) -> None:
        """Begins to read orders; what was told before is read, too."""
        self._task = kept_running(self._run, "hints of brokers", _log)

    async def stop(self) -> None:
        """Stops; after the next start all open orders are looked up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        while True:
            await self._woken.wait()
            self._at("told")
            await self._read(list(self._told)[:_READ_TOGETHER])
            if not self._told:
                self._woken.clear()

    async def _read(self, tags: list[str]) -> None:
        """Drives the orders of tags, concurrently; a tag is forgotten before its order is read."""
        order_ids = dict.fromkeys(await self._store.orders_of_tags(tags))
        for tag in tags:
            self._told.pop(tag, None)
        self._at("found")
        await asyncio.gather(*(self._drive(order_id) for order_id in order_ids))

    async def _drive(self, order_id: str) -> None:
        """Drives an order; one that fails is driven again in the background, and holds up no other."""
        error = await attempted(self._driver.drive(order_id))
        self._at("read")
        if error is None:
            return
        self._driver.look_ups.follow(order_id)
        if not is_transient(error):
            _log.error(
                "order.hint_failed", alarm=True, order_id=order_id, error=in_one_line(error), exc_info=error
            )
