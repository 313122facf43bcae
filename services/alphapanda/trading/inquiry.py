"""Looks up intents without a clear answer at the broker, by tag, until one is found or certainly absent (rule 2)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

import structlog

from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line, is_transient
from alphapanda.telemetry.spans import LOOK_UP
from alphapanda.trading.core.intent import ImpossibleReport, Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeKind
from alphapanda.trading.core.slicing import slices
from alphapanda.trading.execution_context import (
    BootClock,
    ExecutionContext,
    locked_order,
    reported,
)
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.store.port import PositionFilter, TradingTransaction
from alphapanda.trading.traders.trader import NoClearAnswer, Trader

_LONGEST_PAUSE = 16
"""The longest pause between two look-ups, as a multiple of the interval."""
_GIVEN_UP: Final = "a person has ended it: the broker's book of its day is gone"
_DAY_OVER: Final = "its day is over, and the broker holds what we do: nothing of it has filled since"
_INDIA: Final = timedelta(hours=5, minutes=30)
_log = structlog.get_logger(__name__)


class LookUps:
    """The orders being looked up: a background task for each drives it again and again until it has ended.

    Args:
        drive: drives an order as far as possible; calls `forget` once the order has ended or doesn't exist.
        boot_clock: seconds since boot, suspension included.
        interval: seconds before the first look-up; the pause doubles up to 16 times the interval.
    """

    def __init__(
        self, drive: Callable[[str], Awaitable[None]], boot_clock: BootClock, interval: float
    ) -> None:
        self._drive = drive
        self._boot_clock = boot_clock
        self._interval = interval
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._deadlines: dict[str, float] = {}
        self._without: Counter[str] = Counter()
        self._unresolved: set[str] = set()
        self._stopped = False

    def begin(self) -> None:
        """Allows `follow` again after a stop."""
        self._stopped = False

    def deadline(self, intent_id: str, window: float) -> float:
        """Boot time from which an intent that the broker doesn't show is absent: `window` seconds after the first call here.

        It is kept in memory and measured by the boot clock, so neither a wrong wall clock nor a restart shortens it.
        """
        return self._deadlines.setdefault(intent_id, self._boot_clock() + window)

    def answered_without(self, intent_id: str) -> int:
        """Counts a look-up that the broker has answered without the intent; returns how many there were here."""
        self._without[intent_id] += 1
        return self._without[intent_id]

    def first_unresolved(self, intent_id: str) -> bool:
        """Notes that nobody can tell what became of an intent; returns whether that is new."""
        is_new = intent_id not in self._unresolved
        self._unresolved.add(intent_id)
        return is_new

    def settled(self, intent_id: str) -> None:
        """Forgets what is known of an intent that has ended."""
        self._deadlines.pop(intent_id, None)
        self._without.pop(intent_id, None)
        self._unresolved.discard(intent_id)

    def follow(self, order_id: str) -> bool:
        """Starts the order's look-ups; does nothing and returns False if they run already, or after the stop."""
        begins = order_id not in self._tasks and not self._stopped
        if begins:
            task = asyncio.get_running_loop().create_task(self._follow(order_id), name=f"look-up {order_id}")
            self._tasks[order_id] = task
        return begins

    def forget(self, order_id: str) -> None:
        """Ends the order's look-ups; its task ends after the current one."""
        self._tasks.pop(order_id, None)

    async def stop(self) -> None:
        """Cancels all look-ups and waits for their tasks."""
        self._stopped = True
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _follow(self, order_id: str) -> None:
        factor = 1
        while order_id in self._tasks:
            await asyncio.sleep(self._interval * factor)
            factor = min(factor * 2, _LONGEST_PAUSE)
            error = await attempted(self._drive(order_id))
            if error is not None and is_transient(error):
                _log.warning("order.look_up_delayed", order_id=order_id, error=in_one_line(error))
            elif error is not None:
                _log.error(
                    "order.look_ups_failed",
                    alarm=True,
                    order_id=order_id,
                    error=in_one_line(error),
                    exc_info=error,
                )


class Inquiry:
    """Looks up one intent at the broker and stores the result.

    Args:
        context: store, traders, market and clocks.
        options: send window and call timeout.
        look_ups: keeps the deadline of each intent.
    """

    def __init__(self, context: ExecutionContext, options: TradingOptions, look_ups: LookUps) -> None:
        self._context = context
        self._options = options
        self._look_ups = look_ups

    async def look_up(self, order: Order, intent: Intent) -> tuple[Order, bool]:
        """Looks up an intent; returns the order afterwards, and whether the intent has ended."""
        trader = self._context.traders[order.key.broker]
        deadline = self._look_ups.deadline(intent.intent_id, self._visibility(trader))
        window_is_over = self._context.boot_clock() >= deadline
        spans = self._context.spans
        began = spans.began()
        try:
            report = await trader.look_up(order.key.account, intent.tag)
        except NoClearAnswer as unclear:
            spans.broker_call(LOOK_UP, order, intent.tag, began, None, unclear)
            _log.warning(
                "order.look_up_failed",
                order_id=order.order_id,
                broker=order.key.broker,
                tag=intent.tag,
                error=in_one_line(unclear),
            )
            return order, False
        spans.broker_call(LOOK_UP, order, intent.tag, began, report, None)
        over = ""
        if report is not None:
            if not _changes(order, intent, report):
                return order, False
        elif await self._book_is_gone(trader, order):
            over = await self._over(trader, order, intent)
            if not over:
                return order, False
        elif not self._is_absent(trader, intent, window_is_over=window_is_over):
            return order, False
        return await self._store(order, intent, report, over)

    async def _store(
        self, order: Order, intent: Intent, report: BrokerOrder | None, over: str
    ) -> tuple[Order, bool]:
        """Stores what the broker shows, or that it is absent; returns the order afterwards, and whether the intent has ended.

        Args:
            order: as it was.
            intent: the intent that was looked up.
            report: what the broker shows; None: nothing.
            over: why it has ended though the broker's book is of another day; empty where that isn't so.
        """
        market_time = self._context.wall_clock() if over else await self._context.market_time()
        async with self._context.store.transaction() as transaction:
            locked = await locked_order(transaction, order.order_id)
            locked_intent = locked.intents[intent.number]
            events: list[OrderUpdate] = []
            if report is not None:
                events = reported(locked, locked_intent, report, market_time)
            elif locked_intent.unanswered:
                again = () if over else await self._slices_left(transaction, locked)
                words = over or _absent(order.key.broker, locked_intent)
                events = locked.absent(locked_intent, words, market_time, again)
                _log.warning(
                    "order.absent",
                    order_id=order.order_id,
                    tag=locked_intent.tag,
                    quantity_sent_again=sum(again),
                )
            elif over and not locked_intent.status.is_final:
                events = locked.cancelled(locked_intent, over, market_time)
            await transaction.save([self._context.change(locked, events)])
        if locked_intent.status.is_final:
            self._look_ups.settled(locked_intent.intent_id)
        return locked, locked_intent.status.is_final

    def _is_absent(self, trader: Trader, intent: Intent, *, window_is_over: bool) -> bool:
        """Whether one more look-up without the order means that the broker never got it (REAL_MONEY rule 2)."""
        if not intent.unanswered:
            return False
        answered = self._look_ups.answered_without(intent.intent_id)
        return window_is_over and answered >= trader.least_look_ups

    async def _book_is_gone(self, trader: Trader, order: Order) -> bool:
        """Whether the broker's books are of another day than the order, so that they can't tell what became of it."""
        if not trader.forgets_daily:
            return False
        stored = await self._context.store.find(order.order_id)
        today = day_in_india(self._context.wall_clock())
        return stored is not None and day_in_india(stored.created_at) != today

    async def _over(self, trader: Trader, order: Order, intent: Intent) -> str:
        """Why an order has ended that no book shows any more; empty, with an alarm, where a person has to see to it.

        A person has cancelled it here; or it was at the broker and its validity is over, and the account holds what we do: then
        nothing has filled since.
        """
        changes = await self._context.store.changes.unresolved(order.order_id)
        if any(change.kind is ChangeKind.CANCEL and not change.is_ours for change in changes):
            return _GIVEN_UP
        if not intent.unanswered and await self._holds_as_we_do(trader, order):
            return _DAY_OVER
        if self._look_ups.first_unresolved(intent.intent_id):
            _log.error(
                "order.unresolved",
                alarm=True,
                order_id=order.order_id,
                broker=trader.broker,
                account=order.key.account,
                strategy_id=order.key.strategy_id,
                instrument_id=order.key.instrument_id,
                tag=intent.tag,
                message="the broker's book of its day is gone: see at the broker what became of it, then cancel it here",
            )
        return ""

    async def _holds_as_we_do(self, trader: Trader, order: Order) -> bool:
        """Whether the account holds, by the broker's own books, what trading's fills say, of the order's instrument and product."""
        key, instrument = order.key, self._context.instruments().by_id(order.key.instrument_id)
        if instrument is None:
            return False
        try:
            standing = await trader.standing(key.account, [(instrument, key.product)])
        except NoClearAnswer:
            return False
        if standing is None:
            return False
        wanted = PositionFilter(instrument_id=key.instrument_id, broker=key.broker, account=key.account)
        async with self._context.store.transaction() as transaction:
            exposures = await transaction.exposures(wanted)
        ours = sum(one.held for one in exposures if one.key.product is key.product)
        return standing.held.get((key.instrument_id, key.product)) == ours

    async def _slices_left(self, transaction: TradingTransaction, order: Order) -> tuple[int, ...]:
        """Units still to exit, in slices; none for an entry, and none if nothing is held any more."""
        instrument = self._context.instruments().by_id(order.key.instrument_id)
        quantity = order.quantity_to_exit_again(await transaction.position(order.key))
        if instrument is None or not quantity:
            return ()
        try:
            return slices(quantity, instrument.lot_size, instrument.freeze_quantity)
        except InvalidInput:
            return ()

    def _visibility(self, trader: Trader) -> float:
        """Seconds from the first look-up until absence is certain."""
        options = self._options
        return options.send_window_seconds + options.call_timeout_seconds + trader.visibility_window


def _changes(order: Order, intent: Intent, report: BrokerOrder) -> bool:
    """Whether a report tells anything that isn't known of an order; what rests is looked up again and again."""
    after = order.copy()
    try:
        return bool(after.report(after.intents[intent.number], report, order.market_time)) or after != order
    except ImpossibleReport:
        return True


def day_in_india(moment: datetime) -> date:
    """The day in India of an aware time."""
    return (moment.astimezone(UTC) + _INDIA).date()


def _absent(broker: str, intent: Intent) -> str:
    return f"{broker!r} showed no order under tag {intent.tag} until the visibility window ended; it is not sent again"
