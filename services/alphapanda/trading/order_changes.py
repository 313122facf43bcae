"""Carries out cancellations and modifications of orders, in the background of the command that asked for them.

Intent before effect (rule 2), as for submissions. An order that isn't at its broker yet is cancelled by compare-and-set:
whoever was about to send it finds its row changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

import structlog

from alphapanda.domain.order import OrderStatus
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line, is_transient
from alphapanda.resilience.rounds import Rounds
from alphapanda.trading.change_calls import ChangeCalls
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest, ChangeStatus
from alphapanda.trading.driver import OrderDriver
from alphapanda.trading.execution_context import ExecutionContext, Step, no_step
from alphapanda.trading.options import TradingOptions

_LONGEST_PAUSE: Final = 16
"""The longest pause between two steps, as a multiple of the interval."""
_CANCEL_PAUSE: Final = 4
"""The longest one while an order is to be cancelled: something may wait for that."""
RESUMED_SECONDS: Final = 10.0
"""Between two looks for changes that nobody takes further: whoever stored them may be gone, or not know that they are stored."""
_log = structlog.get_logger(__name__)


class OrderChanges:
    """Takes the changes of each order further, in a task of its own, until none is unresolved.

    Args:
        context: store, traders, market and clocks.
        driver: drives orders; its locks keep an order's submission, look-ups and changes apart.
        options: send window and call timeout.
        interval: seconds until an order is looked at again; the pause doubles up to 16 times the interval.
        at: called with the name of each step of a change (calling_committed, called, answered, committed, looked_up); for tests.

    Attributes:
        rounds: continue what nobody continues; they run from start to stop.
    """

    def __init__(
        self,
        context: ExecutionContext,
        driver: OrderDriver,
        options: TradingOptions,
        interval: float = 0.25,
        at: Step = no_step,
    ) -> None:
        self._context = context
        self._store = context.store
        self._driver = driver
        self._calls = ChangeCalls(context, driver, options, at)
        self._interval = interval
        self._unresolved: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._woken: dict[str, asyncio.Event] = {}
        self._stopped = False
        self.rounds = Rounds("order changes", self.resume, RESUMED_SECONDS, _log)

    # -- start and stop -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Continues the changes that have not ended, each from its row; call it once the executor has started.

        Raises:
            asyncio's and the database's errors where the rows can't be read; call it again.
        """
        self._stopped = False
        await self.resume()
        await self.rounds.start()

    async def resume(self) -> None:
        """Continues the changes that have not ended and that nobody in this process continues yet."""
        for order_id in await self._store.changes.orders_with_unresolved():
            self.keep(order_id)

    async def stop(self) -> None:
        """Stops; the next start continues from the rows."""
        self._stopped = True
        await self.rounds.stop()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- changes ------------------------------------------------------------------------------------------------------

    async def ask(self, changes: Sequence[ChangeRequest]) -> None:
        """Stores changes that the platform itself asks for, and begins to carry them out; a stored one stays as it is."""
        async with self._store.transaction() as transaction:
            await transaction.changes.add(changes)
        self.begin(changes)

    def begin(self, changes: Sequence[ChangeRequest]) -> None:
        """Begins to carry out changes that were just stored."""
        for change in changes:
            _log.info(
                "order.change_requested",
                order_id=change.order_id,
                kind=change.kind.name,
                requested_by=change.requested_by,
                reason=change.reason,
            )
            self.follow(change.order_id)

    def follow(self, order_id: str) -> None:
        """Takes an order's changes further, at once and until none is unresolved."""
        if self._stopped:
            return
        self._unresolved[order_id] = _LONGEST_PAUSE
        woken = self._woken.setdefault(order_id, asyncio.Event())
        woken.set()
        if order_id not in self._tasks:
            name = f"changes of {order_id}"
            self._tasks[order_id] = asyncio.get_running_loop().create_task(
                self._run(order_id, woken), name=name
            )

    def keep(self, order_id: str) -> None:
        """Takes an order's changes further, unless this process does so already."""
        if order_id not in self._tasks:
            self.follow(order_id)

    async def wait(self, order_ids: Collection[str], seconds: float) -> None:
        """Returns once no change of these orders is unresolved, or after some seconds."""
        tasks = [task for order_id in order_ids if (task := self._tasks.get(order_id)) is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    # -- a task of an order's -----------------------------------------------------------------------------------------

    async def _run(self, order_id: str, woken: asyncio.Event) -> None:
        factor = 1
        try:
            while order_id in self._unresolved:
                woken.clear()
                del self._unresolved[order_id]
                error = await attempted(self._step(order_id))
                if error is not None:
                    self._unresolved[order_id] = _LONGEST_PAUSE
                    _failed(order_id, error, first=factor == 1)
                if order_id not in self._unresolved:
                    continue
                try:
                    await asyncio.wait_for(woken.wait(), self._interval * factor)
                    factor = 1
                except TimeoutError:
                    factor = min(factor * 2, self._unresolved[order_id])
        finally:
            del self._tasks[order_id], self._woken[order_id]

    async def _step(self, order_id: str) -> None:
        """Takes the changes of an order as far as they go now; notes the order where one is still unresolved."""
        async with self._driver.order_lock(order_id):
            while True:
                order = await self._driver.order(order_id)
                changes = await self._store.changes.unresolved(order_id)
                if not changes:
                    return
                if order.status.is_final:
                    await self._calls.settle(order_id)
                    return
                intent, change = order.current, _next(changes)
                goes_on = False
                if order.key.broker not in self._context.traders or intent is None:
                    pass  # it waits for its broker, or for risk
                elif intent.unanswered:
                    self._driver.look_ups.follow(order_id)
                elif intent.status is OrderStatus.PENDING_SUBMIT:
                    if change is not None and change.kind is ChangeKind.CANCEL:
                        await self._calls.cancel_unsent(order_id, change)
                        goes_on = True
                elif change is None:
                    goes_on = await self._calls.look_up(order, intent)
                else:
                    goes_on = await self._calls.call(order, change)
                if not goes_on:
                    hurries = any(one.kind is ChangeKind.CANCEL for one in changes)
                    self._unresolved[order_id] = _CANCEL_PAUSE if hurries else _LONGEST_PAUSE
                    return


def _failed(order_id: str, error: Exception, *, first: bool) -> None:
    if is_transient(error):
        _log.warning("order.change_delayed", order_id=order_id, error=in_one_line(error))
    else:
        _log.error(
            "order.change_failed", alarm=first, order_id=order_id, error=in_one_line(error), exc_info=error
        )


def _next(changes: Sequence[ChangeRequest]) -> ChangeRequest | None:
    """The change to call next: a cancellation before modifications, and these one after the other; None: none now."""
    called = {change.kind for change in changes if change.status is not ChangeStatus.PENDING}
    if ChangeKind.CANCEL in called:
        return None
    for kind in (ChangeKind.CANCEL, ChangeKind.MODIFY):
        if kind in called:
            continue
        for change in changes:
            if change.kind is kind and change.status is ChangeStatus.PENDING:
                return change
    return None
