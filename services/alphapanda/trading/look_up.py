"""Orders whose broker has to be asked again: each is driven on in a task of its own until it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from alphapanda.resilience.failures import TransientFailure
from alphapanda.trading.ports import BootClock

_SLOWEST = 16
_log = structlog.get_logger(__name__)


class LookUps:
    """The orders being looked up.

    Args:
        drive: takes an order as far as it goes; it forgets the order here once that has ended.
        boot_clock: seconds since boot, suspension included.
        interval: seconds before the first look-up; the pause doubles up to 16 times that.
    """

    def __init__(
        self, drive: Callable[[str], Awaitable[None]], boot_clock: BootClock, interval: float
    ) -> None:
        self._drive = drive
        self._boot_clock = boot_clock
        self._interval = interval
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._deadlines: dict[str, float] = {}

    def deadline(self, intent_id: str, window: float) -> float:
        """Boot time from which an intent that isn't seen is absent: `window` seconds after it was first asked for.

        It is kept in memory and by the boot clock, so neither a wrong wall clock nor a restart ever shortens it.
        """
        return self._deadlines.setdefault(intent_id, self._boot_clock() + window)

    def settled(self, intent_id: str) -> None:
        """The intent isn't asked for any more."""
        self._deadlines.pop(intent_id, None)

    def follow(self, order_id: str) -> None:
        """Looks the order up again and again; does nothing where that is being done."""
        if order_id not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._follow(order_id), name=f"look-up {order_id}")
            self._tasks[order_id] = task
            task.add_done_callback(lambda ended: self._ended(order_id, ended))

    def forget(self, order_id: str) -> None:
        """The order has ended: its task ends after this turn."""
        self._tasks.pop(order_id, None)

    async def stop(self) -> None:
        """Ends all of them."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, order_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(order_id) is task:  # nobody looks it up any more; who meets it next begins anew
            del self._tasks[order_id]
        if not task.cancelled() and (error := task.exception()):
            _log.error("following an order ended by a bug", alarm=True, order_id=order_id, exc_info=error)

    async def _follow(self, order_id: str) -> None:
        turn = 1
        while order_id in self._tasks:
            await asyncio.sleep(self._interval * turn)
            turn = min(turn * 2, _SLOWEST)
            try:
                await self._drive(order_id)
            except (SQLAlchemyError, OSError, TransientFailure) as away:
                _log.warning("an order can't be followed now", order_id=order_id, error=repr(away))
