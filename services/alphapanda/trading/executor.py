"""Drives an order through its state machine to a final status.

Intent before effect (rule 2): an intent is committed as SUBMITTING just before the broker call, in a transaction that
locks the kill switches. From then on nobody sends that intent again; it is only looked up. `drive` continues an order
from whatever its row says, so any process may call it for any order. An order that this process has just stored is
continued from memory; where a compare-and-set fails, it is continued from its row.

Once a batch's orders are stored they are driven by tasks of the executor's own. A batch waits for them only a moment, so
a broker that is slow or hangs holds back neither its partition nor a start, and no other broker.

The first step passed to `at` is received; decision_commits and broker_calls name the others.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Any
from weakref import WeakValueDictionary

import structlog

from alphapanda.consuming.delivery import CannotDiscard
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import FailureReason, OrderStatus
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.domain.signal import MANUAL, PositionKey
from alphapanda.domain.verdict import Approved
from alphapanda.resilience.failures import TransientFailure
from alphapanda.trading.attempts import Attempts
from alphapanda.trading.broker_calls import BrokerCalls
from alphapanda.trading.call_slots import CallSlots, HeldOrder
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.slicing import slices
from alphapanda.trading.decision import Call
from alphapanda.trading.decision_commits import DecisionCommits, Outcome
from alphapanda.trading.execution_context import (
    ExecutionContext,
    Step,
    no_step,
)
from alphapanda.trading.inquiry import Inquiry, LookUps
from alphapanda.trading.lines import Lines
from alphapanda.trading.options import TradingOptions

_RESUMED_AT_ONCE = 16
_log = structlog.get_logger(__name__)


class OrderExecutor:
    """Drives orders from storage through the broker call to a final status.

    Args:
        context: store, traders, market and clocks.
        checks: the checks before sending.
        options: send window, call timeout, and how long a batch waits.
        at: called with the name of each step; for tests.
        look_up_interval: seconds between two look-ups of one order.
    """

    def __init__(
        self,
        context: ExecutionContext,
        checks: PreSubmitChecks,
        options: TradingOptions,
        at: Step = no_step,
        look_up_interval: float = 0.25,
    ) -> None:
        self._context = context
        self._at = at
        self._driving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._ended: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._slots: defaultdict[str, CallSlots] = defaultdict(CallSlots)
        self._attempts = Attempts()
        self._commits = DecisionCommits(context, checks, self._attempts, at)
        self._calls = BrokerCalls(context, options, self._attempts, at)
        self._look_ups = LookUps(self._follow, context.boot_clock, look_up_interval)
        self._inquiry = Inquiry(context, options, self._look_ups)
        self._lines = Lines(options.batch_wait_seconds, self._look_ups.follow)

    # -- start and stop -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begins a new epoch and begins to drive every order that has not ended, before new signals.

        Raises:
            asyncio's and the database's errors where the rows can't be read; call it again.
        """
        self._attempts.begin(await self._context.store.next_epoch())
        self._look_ups.begin()
        await self.resume()

    async def resume(self) -> None:
        """Begins to drive every order that has not ended, from its row, and waits for them a moment.

        One that fails is tried again in the background. It fails no other order, and not the start.

        Raises:
            asyncio's and the database's errors where the rows can't be read; call it again.
        """
        still_open = await self._context.store.open_orders()
        for order_id in self._attempts.orders() - still_open:
            if not self._order_lock(order_id).locked():
                self._attempts.forget(order_id)
        await self._lines.resume(still_open, self._resuming())

    async def stop(self) -> None:
        """Stops the look-ups, then the orders under way, which stay as their rows say; the next start continues them."""
        await self._look_ups.stop()
        await self._lines.stop()

    # -- orders -------------------------------------------------------------------------------------------------------

    async def execute(self, approved: Sequence[tuple[Approved, str]]) -> None:
        """Executes signals that risk approved, as far as possible now.

        Their orders are stored in one transaction. It also decides those that can be called at once: the first of each
        position key, as long as slots are free. Orders of one key are driven one after the other, keys concurrently.
        A signal that has an order already continues from its row. Orders that take longer than `batch_wait_seconds` go
        on after the return.

        Args:
            approved: verdicts of one broker, each with the id of its event.

        Raises:
            the first error of an order that didn't take longer; the same signals may be passed again.
        """
        self._at("received")
        orders: dict[str, Order] = {}
        by_key: defaultdict[PositionKey, list[Order]] = defaultdict(list)
        for verdict, causation_id in approved:
            order = Order.approved(verdict, causation_id, self._parts(verdict))
            if orders.setdefault(order.order_id, order) is order:
                by_key[order.key].append(order)
        received: asyncio.Future[Mapping[str, Outcome] | None] = asyncio.get_running_loop().create_future()
        with ExitStack() as until_driven:
            held = await self._hold_orders([line[0] for line in by_key.values()], until_driven)
            # Lines begin before their orders are stored: whoever passes the same orders meanwhile comes behind them, and
            # doesn't wait for a lock that is held by who waits for them.
            tasks = [self._begin_line(line, received, held) for line in by_key.values()]
            until_driven.pop_all()
        try:
            received.set_result(await self._commits.receive(list(orders.values()), held))
        except asyncio.CancelledError:
            for order_id in held:
                self._look_ups.follow(order_id)
            raise
        finally:
            if not received.done():
                received.set_result(None)
        await self._lines.wait(tasks, approved[0][0].key.broker)

    async def execute_manual(self, order: Order, approved: Approved, causation_id: str) -> None:
        """Executes a manual order that risk approved, as far as possible now.

        Args:
            order: the order as this process stored it.
            approved: risk's verdict.
            causation_id: id of the verdict's event.
        """
        approved_order = Order.approved(approved, causation_id, self._parts(approved))
        await self.drive(approved_order.order_id, _validated(order, approved_order))

    async def refuse(
        self, order: Order, message: str, causation_id: str, market_time: datetime | None
    ) -> bool:
        """Ends a manual order that risk refused.

        Args:
            order: the order as this process last stored or read it, PENDING_RISK.
            message: why.
            causation_id: id of the verdict's event.
            market_time: of the verdict; None where unknown.

        Returns:
            False if its row has changed since; nothing is stored then.
        """
        order = order.copy()
        events = order.refused_by_risk(message, causation_id, market_time)
        ended = await self._calls.save(self._context.change(order, events))
        if ended:
            self._settle(order)
        return ended

    async def discard(self, verdict: Approved, causation_id: str) -> None:
        """Ends the order of a parked signal that a person discards as FAILED(DISCARDED), without sending it.

        Raises:
            CannotDiscard: part of it was sent already, or risk was answered that it never gets an order.
        """
        market_time = await self._context.market_time()

        def discarded(order: Order) -> list[OrderUpdate]:
            message = "a person discarded it while it was parked"
            return order.not_sent(FailureReason.DISCARDED, message, market_time)

        order = Order.approved(verdict, causation_id, self._parts(verdict))
        async with self._context.store.transaction() as transaction:
            if not await transaction.add([self._context.change(order, discarded(order))]):
                found = await transaction.locked(order.order_id)
                if found is None:
                    raise CannotDiscard("risk was answered that the signal never gets an order; redrive it")
                if found.status is OrderStatus.FAILED and found.failure is FailureReason.DISCARDED:
                    return
                if found.status is OrderStatus.PENDING_RISK:
                    found = _validated(found, order)
                if found.status is not OrderStatus.PENDING_SUBMIT:
                    raise CannotDiscard(f"order {order.order_id} is {found.status.name}; redrive it")
                order = found
                await transaction.save([self._context.change(order, discarded(order))])
        self._settle(order)

    async def drive(self, order_id: str, known: Order | None = None) -> None:
        """Drives an order as far as possible now: to its end, or until it needs look-ups, which run in the background.

        Args:
            order_id: the order's id.
            known: the order as this process last stored it; others may have changed it since. None: its row is read.
        """
        async with self._order_lock(order_id):
            try:
                await self._drive(known or await self._order(order_id))
            except asyncio.CancelledError:
                self._look_ups.follow(order_id)  # if its call was not begun, it is decided again (rule 18)
                raise

    async def wait_for_end(self, order_id: str, timeout: float, *, is_new: bool = False) -> None:
        """Returns once the order has ended, or after `timeout` seconds.

        Args:
            order_id: the order's id.
            timeout: seconds.
            is_new: the order can't have ended before this call, so its row isn't read.
        """
        ended = self._ended.setdefault(order_id, asyncio.Event())
        if not is_new and (await self._order(order_id)).status.is_final:
            self._ended.pop(order_id, None)
            ended.set()
            return
        try:
            await asyncio.wait_for(ended.wait(), timeout)
        except TimeoutError:
            return

    # -- batches ----------------------------------------------------------------------------------------------------

    async def _hold_orders(self, orders: Sequence[Order], until_driven: ExitStack) -> dict[str, HeldOrder]:
        """Locks, without waiting, the orders that can be called at once, each with a slot for its broker call.

        The stack releases them where they come to be driven by nobody.
        """
        held: dict[str, HeldOrder] = {}
        for order in orders:
            lock = self._order_lock(order.order_id)
            slots = self._call_slots(order)
            if self._has_to_wait(order) or self._lines.is_busy(order.key) or lock.locked() or slots.locked():
                continue
            await lock.acquire()
            await slots.acquire()
            held[order.order_id] = HeldOrder(lock, slots)
            until_driven.callback(held[order.order_id].release)
        return held

    def _has_to_wait(self, order: Order) -> bool:
        """Whether the order's broker isn't active here, or isn't ready for an exit; entries then end by their checks."""
        trader = self._context.traders.get(order.key.broker)
        return trader is None or bool(trader.not_ready and not order.effect.is_entry)

    def _begin_line(
        self,
        orders: Sequence[Order],
        received: asyncio.Future[Mapping[str, Outcome] | None],
        held: Mapping[str, HeldOrder],
    ) -> asyncio.Task[None]:
        """Begins to drive the orders of one position key once they are received; None: they weren't, and nothing is done."""
        holds = [held[order.order_id] for order in orders if order.order_id in held]

        def ended() -> None:
            for hold in holds:
                hold.release()

        async def drive() -> None:
            if (outcomes := await asyncio.shield(received)) is not None:
                await self._drive_in_sequence(orders, outcomes, held)

        return self._lines.begin(orders[0].key, [order.order_id for order in orders], drive, ended)

    async def _drive_in_sequence(
        self, orders: Sequence[Order], outcomes: Mapping[str, Outcome], held: Mapping[str, HeldOrder]
    ) -> None:
        """Drives the orders of one position key, one after the other."""
        for order in orders:
            outcome = outcomes[order.order_id]
            hold = held.get(order.order_id)
            if hold is None and isinstance(outcome, Order):
                await self.drive(order.order_id, outcome)
            elif hold is None:
                async with self._order_lock(order.order_id):
                    await self._drive_known_signal(order)
            else:
                try:
                    await self._drive_held(order, outcome, hold)
                finally:
                    hold.release()

    async def _drive_held(self, order: Order, outcome: Outcome, hold: HeldOrder) -> None:
        if isinstance(outcome, Call):
            made, report = await self._calls.make(outcome)
            hold.release_slot()
            order = await self._calls.store_answer(outcome, report) if made else outcome.order
            await self._drive(order, told=made)
            return
        hold.release_slot()
        if isinstance(outcome, Order):
            await self._drive(outcome)
        else:
            await self._drive_known_signal(order)

    async def _drive_known_signal(self, approved: Order) -> None:
        """Continues the order of a signal received before; a manual order that waits for its verdict gets it here."""
        stored = await self._context.store.find(approved.order_id)
        if stored is None:
            if not await self._context.store.has_tombstone(approved.signal_id):
                raise LookupError(f"signal {approved.signal_id} has neither an order nor a tombstone")
            _log.warning(
                "signal.ignored", signal_id=approved.signal_id, reason="reservation already released"
            )
            return
        order = stored.order
        if order.key.strategy_id == MANUAL and order.status is OrderStatus.PENDING_RISK:
            order = _validated(order, approved)
        await self._drive(order)

    # -- driving ------------------------------------------------------------------------------------------------------

    async def _drive(self, order: Order, *, told: bool = False) -> None:
        """Drives an order whose lock this task holds.

        Args:
            order: as it is stored.
            told: whether the broker has just told its state.
        """
        while (intent := order.current) is not None:
            if order.key.broker not in self._context.traders:
                _log.warning(
                    "order.broker_not_active",
                    order_id=order.order_id,
                    broker=order.key.broker,
                    strategy_id=order.key.strategy_id,
                )
                return
            if intent.status is OrderStatus.PENDING_SUBMIT and self._has_to_wait(order):
                if self._look_ups.follow(order.order_id):
                    _log.warning("order.waits_for_broker", order_id=order.order_id, broker=order.key.broker)
                return
            # Who tells of its fills is asked only to learn what happened meanwhile: once, and not in the background.
            waits = not intent.unanswered and self._context.traders[order.key.broker].tells_of_fills
            if intent.status is OrderStatus.PENDING_SUBMIT:
                order = await self._send(order)
                told = True
            elif self._attempts.was_never_called(order, intent):
                _log.warning("order.never_called", order_id=order.order_id, tag=intent.tag)
                order = order.copy()
                order.never_called(order.intents[intent.number])
            elif told and waits:
                self._look_ups.forget(order.order_id)
                return
            else:
                order, settled = await self._inquiry.look_up(order, intent)
                told = True
                if not settled and not waits:
                    self._look_ups.follow(order.order_id)
                    return
        self._settle(order)

    def _resuming(self) -> Callable[[str], Coroutine[Any, Any, None]]:
        """Drives an open order, 16 of a broker at a time."""
        reading = asyncio.Semaphore(_RESUMED_AT_ONCE)
        few: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_RESUMED_AT_ONCE))

        async def one(order_id: str) -> None:
            async with reading:
                broker = (await self._order(order_id)).key.broker
            async with few[broker]:
                await self.drive(order_id)

        return one

    async def _follow(self, order_id: str) -> None:
        """Drives an order that is being followed; one whose row was never committed is no longer followed."""
        if await self._context.store.find(order_id) is None:
            self._look_ups.forget(order_id)
        else:
            await self.drive(order_id)

    async def _send(self, order: Order) -> Order:
        """Decides the next intent and makes its broker call; returns the order afterwards."""
        async with self._call_slots(order):
            outcome = await self._commits.decide(order)
            if isinstance(outcome, TransientFailure):
                raise outcome
            if not isinstance(outcome, Call):
                return outcome or await self._order(order.order_id)
            made, report = await self._calls.make(outcome)
        return await self._calls.store_answer(outcome, report) if made else outcome.order

    def _settle(self, order: Order) -> None:
        """Stops the look-ups of an order that needs no more work, and wakes whoever waits for its end."""
        self._look_ups.forget(order.order_id)
        if order.status.is_final:
            self._attempts.forget(order.order_id)
            for intent in order.intents:
                self._look_ups.settled(intent.intent_id)
            if waiting := self._ended.pop(order.order_id, None):
                waiting.set()

    # -- internals ----------------------------------------------------------------------------------------------------

    def _order_lock(self, order_id: str) -> asyncio.Lock:
        """The lock that a task holds while it drives an order in this process."""
        return self._driving.setdefault(order_id, asyncio.Lock())

    def _call_slots(self, order: Order) -> asyncio.Semaphore:
        slots = self._slots[order.key.broker]
        return slots.entries if order.effect.is_entry else slots.exits

    async def _order(self, order_id: str) -> Order:
        stored = await self._context.store.find(order_id)
        if stored is None:
            raise LookupError(f"there is no order {order_id}")
        return stored.order

    def _parts(self, approved: Approved) -> tuple[int, ...]:
        """The slices of an order; one slice if it can't be sliced, which the checks then refuse."""
        instrument = self._context.instruments().by_id(approved.key.instrument_id)
        if instrument is None:
            return (approved.quantity,)
        try:
            return slices(approved.quantity, instrument.lot_size, instrument.freeze_quantity)
        except InvalidInput:
            return (approved.quantity,)


def _validated(order: Order, approved: Order) -> Order:
    """A manual order with the values of risk's approval applied."""
    order = order.copy()
    parts = [intent.quantity for intent in approved.intents]
    order.validated(approved.side, approved.quantity, approved.effect, approved.causation_id, parts)
    return order
