"""Asks a broker for what it didn't answer, by its tag, until it is seen or its absence is certain (rule 2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.resilience.failures import TransientFailure
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.slicing import slices
from alphapanda.trading.execution_context import (
    BootClock,
    ExecutionContext,
    locked_order,
    reported,
)
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.store.port import TradingTransaction
from alphapanda.trading.traders.trader import NoClearAnswer, Trader

_LONGEST_PAUSE = 16
"""Times the interval."""
_log = structlog.get_logger(__name__)


class LookUps:
    """The orders being looked up: each is driven on in a task of its own until it has ended.

    Args:
        drive: takes an order as far as it goes; it forgets the order here once that has ended or isn't there.
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
        self._stopped = False

    def begin(self) -> None:
        """Orders may be followed again after a stop."""
        self._stopped = False

    def deadline(self, intent_id: str, window: float) -> float:
        """Boot time from which an intent that isn't seen is absent: `window` seconds after it was first asked for.

        It is kept in memory and by the boot clock, so neither a wrong wall clock nor a restart ever shortens it.
        """
        return self._deadlines.setdefault(intent_id, self._boot_clock() + window)

    def settled(self, intent_id: str) -> None:
        """The intent isn't asked for any more."""
        self._deadlines.pop(intent_id, None)

    def follow(self, order_id: str) -> None:
        """Looks the order up again and again; does nothing where that is being done, or after the stop."""
        if order_id not in self._tasks and not self._stopped:
            task = asyncio.get_running_loop().create_task(self._follow(order_id), name=f"look-up {order_id}")
            self._tasks[order_id] = task
            task.add_done_callback(lambda ended: self._ended(order_id, ended))

    def forget(self, order_id: str) -> None:
        """The order has ended: its task ends after this turn."""
        self._tasks.pop(order_id, None)

    async def stop(self) -> None:
        """Ends all of them."""
        self._stopped = True
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
            _log.error(
                "order.look_ups_failed", alarm=True, order_id=order_id, error=repr(error), exc_info=error
            )

    async def _follow(self, order_id: str) -> None:
        turn = 1
        while order_id in self._tasks:
            await asyncio.sleep(self._interval * turn)
            turn = min(turn * 2, _LONGEST_PAUSE)
            try:
                await self._drive(order_id)
            except (SQLAlchemyError, OSError, TransientFailure) as away:
                _log.warning("order.look_up_delayed", order_id=order_id, error=repr(away))


class Inquiry:
    """One look-up at a time.

    Args:
        context: what it works with.
        options: send window and call timeout.
        look_ups: keeps the deadline of each intent.
    """

    def __init__(self, context: ExecutionContext, options: TradingOptions, look_ups: LookUps) -> None:
        self._with = context
        self._options = options
        self._look_ups = look_ups

    async def ask(self, order: Order, intent: Intent) -> tuple[Order, bool]:
        """Asks for an intent; the order after that, and whether the intent has ended."""
        trader = self._with.traders[order.key.broker]
        deadline = self._look_ups.deadline(intent.intent_id, self._visibility(trader))
        window_is_over = self._with.boot_clock() >= deadline
        try:
            async with asyncio.timeout(self._options.call_timeout_seconds):
                report = await trader.look_up(order.key.account, intent.tag)
        except (TimeoutError, NoClearAnswer) as unclear:
            _log.warning("order.look_up_failed", order_id=order.order_id, tag=intent.tag, error=repr(unclear))
            return order, False
        if report is None and not (window_is_over and intent.unanswered):
            return order, False
        market_time = await self._with.market_time()
        async with self._with.store.transaction() as transaction:
            locked = await locked_order(transaction, order.order_id)
            mine = locked.intents[intent.number]
            events: list[OrderUpdate] = []
            if report is not None:
                events = reported(locked, mine, report, market_time)
            elif mine.unanswered:
                again = await self._exit_again(transaction, locked)
                events = locked.absent(mine, _absent(trader.broker, mine), market_time, again)
                _log.warning(
                    "order.absent", order_id=order.order_id, tag=mine.tag, quantity_sent_again=sum(again)
                )
            await transaction.save([self._with.change(locked, events)])
        if mine.status.is_final:
            self._look_ups.settled(mine.intent_id)
        return locked, mine.status.is_final

    async def _exit_again(self, transaction: TradingTransaction, order: Order) -> tuple[int, ...]:
        """What is left to exit, in parts; nothing of an entry, and nothing where the position is gone."""
        instrument = self._with.instruments().by_id(order.key.instrument_id)
        quantity = order.exit_again(await transaction.position(order.key))
        if instrument is None or not quantity:
            return ()
        try:
            return slices(quantity, instrument.lot_size, instrument.freeze_quantity)
        except InvalidInput:
            return ()

    def _visibility(self, trader: Trader) -> float:
        """Seconds after the commit (or, after a restart, after now, which is later) until absence is certain."""
        options = self._options
        return options.send_window_seconds + options.call_timeout_seconds + trader.visibility_window


def _absent(broker: str, intent: Intent) -> str:
    return f"{broker!r} showed no order under tag {intent.tag} until the visibility window ended; it is not sent again"
