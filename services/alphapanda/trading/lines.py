"""Tasks that drive orders apart from the batch they came with, so that a slow broker doesn't hold back its partition."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from typing import Any, Final

import structlog

from alphapanda.domain.signal import PositionKey
from alphapanda.resilience.failures import in_one_line, is_transient

MOST_UNDER_WAY: Final = 1000
"""Position keys of a broker whose orders go on by themselves; beyond it a batch waits for its own, and its partition with
it. Risk lets a key have one open order, so a broker gets there only with as many keys."""

STOP_SECONDS: Final = 1.0
"""How long orders under way may go on when the executor stops."""

_log = structlog.get_logger(__name__)


class Lines:
    """Runs the orders of each position key one after the other, and different keys concurrently.

    Args:
        wait_seconds: how long a batch, or a resumption, waits for its orders; then they go on by themselves.
        follow: called with an order whose task was cut off, or failed when nobody waited for it any more.
    """

    def __init__(self, wait_seconds: float, follow: Callable[[str], object]) -> None:
        self._wait_seconds = wait_seconds
        self._follow = follow
        self._last: dict[PositionKey, asyncio.Task[None]] = {}
        self._late: defaultdict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self._resumed: dict[str, asyncio.Task[None]] = {}

    def is_busy(self, key: PositionKey) -> bool:
        """Whether orders of the key are under way."""
        return key in self._last

    def begin(
        self,
        key: PositionKey,
        order_ids: Collection[str],
        drive: Callable[[], Awaitable[None]],
        ended: Callable[[], None],
    ) -> asyncio.Task[None]:
        """Begins to drive orders of a key, once those begun before have ended.

        Args:
            key: the orders' position key.
            order_ids: the orders.
            drive: drives them.
            ended: called at the end, even where `drive` was never begun.
        """
        task = asyncio.create_task(_after(self._last.get(key), drive))
        self._last[key] = task

        def done(_: object) -> None:
            if self._last.get(key) is task:
                del self._last[key]
            ended()
            late = task in self._late[key.broker]
            self._late[key.broker].discard(task)
            if late or task.cancelled():
                self._give_to_look_ups(order_ids, task)

        task.add_done_callback(done)
        return task

    async def wait(self, tasks: Sequence[asyncio.Task[None]], broker: str) -> None:
        """Waits for a batch's tasks a moment; those that take longer go on by themselves.

        Raises:
            the first error of a task that has ended.
        """
        try:
            _, late = await asyncio.wait(tasks, timeout=self._wait_seconds)
            if late and len(self._late[broker]) >= MOST_UNDER_WAY:
                _, late = await asyncio.wait(tasks)
        except asyncio.CancelledError:
            await _cancel(tasks)
            raise
        self._late[broker] |= late
        ended = [task for task in tasks if task.done() and not task.cancelled()]
        if errors := [error for task in ended if (error := task.exception()) is not None]:
            raise errors[0]

    async def resume(
        self, order_ids: Iterable[str], drive: Callable[[str], Coroutine[Any, Any, None]]
    ) -> None:
        """Drives open orders concurrently and waits for them a moment; the rest goes on by itself.

        An order that is being resumed already is passed over; one that fails is followed and fails no other.
        """
        for order_id in order_ids:
            if order_id not in self._resumed:
                self._resume(order_id, drive(order_id))
        if self._resumed:
            await asyncio.wait(self._resumed.values(), timeout=self._wait_seconds)

    async def stop(self) -> None:
        """Lets orders under way go on a moment, then cuts them off."""
        tasks = {*self._last.values(), *self._resumed.values()}.union(*self._late.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            await _cancel(late)

    def _resume(self, order_id: str, drive: Coroutine[Any, Any, None]) -> None:
        task = self._resumed[order_id] = asyncio.create_task(drive)

        def done(_: object) -> None:
            del self._resumed[order_id]
            self._give_to_look_ups([order_id], task)

        task.add_done_callback(done)

    def _give_to_look_ups(self, order_ids: Iterable[str], task: asyncio.Task[None]) -> None:
        """Has the orders of a task that didn't succeed driven again, from their rows."""
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            return
        for order_id in order_ids:
            if isinstance(error, Exception) and is_transient(error):
                _log.warning("order.delayed", order_id=order_id, error=in_one_line(error))
            elif error is not None:
                _log.error(
                    "order.drive_failed", alarm=True, order_id=order_id, error=repr(error), exc_info=error
                )
            self._follow(order_id)


async def _after(earlier: asyncio.Task[None] | None, drive: Callable[[], Awaitable[None]]) -> None:
    if earlier is not None:
        await asyncio.wait([earlier])
    await drive()


async def _cancel(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancels tasks and waits for their ends, whatever they are."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
