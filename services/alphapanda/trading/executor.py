"""Stores the orders that risk approved and has them driven to a final status, a line of orders for each position key.

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

import structlog

from alphapanda.consuming.delivery import CannotDiscard
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import FailureReason, OrderStatus
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.verdict import Approved
from alphapanda.trading.adjusting import adjust_positions
from alphapanda.trading.call_slots import HeldOrder
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.slicing import slices
from alphapanda.trading.decision_commits import Outcome
from alphapanda.trading.driver import OrderDriver, validated
from alphapanda.trading.execution_context import (
    ExecutionContext,
    Step,
    no_step,
)
from alphapanda.trading.lines import Lines
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.rechecking import recheck
from panda.trading.v1 import trading_pb2 as trading

_RESUMED_AT_ONCE = 16
_log = structlog.get_logger(__name__)


class OrderExecutor:
    """Executes approved signals: stores their orders, those that can be called at once as SUBMITTING, and drives them.

    Args:
        context: store, traders, market and clocks.
        checks: the checks before sending.
        options: send window, call timeout, and how long a batch waits.
        at: called with the name of each step; for tests.
        look_up_interval: seconds between two look-ups of one order.

    Attributes:
        driver: drives one order at a time; any process may drive any order.
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
        self.driver = OrderDriver(context, checks, options, at, look_up_interval)
        self._lines = Lines(options.batch_wait_seconds, self.driver.look_ups.follow)

    # -- start and stop -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begins a new epoch and begins to drive every order that has not ended, before new signals.

        Raises:
            asyncio's and the database's errors where the rows can't be read; call it again.
        """
        self.driver.attempts.begin(await self._context.store.next_epoch())
        self.driver.look_ups.begin()
        await self.resume()

    async def resume(self) -> None:
        """Begins to drive every order that has not ended, from its row, and waits for them a moment.

        One that fails is tried again in the background. It fails no other order, and not the start.

        Raises:
            asyncio's and the database's errors where the rows can't be read; call it again.
        """
        await self.driver.protections.reload()
        still_open = await self._context.store.open_orders()
        for order_id in self.driver.attempts.orders() - still_open:
            if not self.driver.order_lock(order_id).locked():
                self.driver.attempts.forget(order_id)
        await self._lines.resume(still_open, self._resuming())

    async def stop(self) -> None:
        """Stops the look-ups, then the orders under way, which stay as their rows say; the next start continues them."""
        await self.driver.look_ups.stop()
        await self._lines.stop()

    # -- orders -------------------------------------------------------------------------------------------------------

    async def recheck(self, order_id: str, intent_id: str) -> bool:
        """Asks the broker for a call again and books what was missed; returns whether the broker shows it.

        Raises:
            NotFound: there is no such order or call.
            Unavailable: the broker can't be asked now.
        """
        return await recheck(self._context, order_id, intent_id)

    async def adjust(self, request: trading.AdjustPositionsRequest) -> Sequence[str]:
        """Stores changes of positions that no trade explains; returns the ids of their orders (`adjust_positions`)."""
        return await adjust_positions(self._context, request)

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
        began = self._context.spans.began()
        orders: dict[str, Order] = {}
        by_key: defaultdict[PositionKey, list[Order]] = defaultdict(list)
        for verdict, causation_id in approved:
            order = Order.approved(verdict, causation_id, self._parts(verdict))
            if orders.setdefault(order.order_id, order) is order:
                by_key[order.key].append(order)
                if order.protection is not None:
                    self.driver.protections.expect(order)
        received: asyncio.Future[Mapping[str, Outcome] | None] = asyncio.get_running_loop().create_future()
        with ExitStack() as until_driven:
            held = await self._hold_orders([line[0] for line in by_key.values()], until_driven)
            # Lines begin before their orders are stored: whoever passes the same orders meanwhile comes behind them, and
            # doesn't wait for a lock that is held by who waits for them.
            tasks = [self._begin_line(line, received, held, began) for line in by_key.values()]
            until_driven.pop_all()
        try:
            outcomes = await self.driver.commits.receive(list(orders.values()), held)
            received.set_result(outcomes)
            self._context.measured.received(orders.values(), outcomes)
        except asyncio.CancelledError:
            for order_id in held:
                self.driver.look_ups.follow(order_id)
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
        await self.driver.drive(approved_order.order_id, validated(order, approved_order))

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
        ended = await self.driver.calls.save(self._context.change(order, events))
        if ended:
            self.driver.settle(order)
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
                    found = validated(found, order)
                if found.status is not OrderStatus.PENDING_SUBMIT:
                    raise CannotDiscard(f"order {order.order_id} is {found.status.name}; redrive it")
                order = found
                await transaction.save([self._context.change(order, discarded(order))])
        self.driver.settle(order)

    # -- batches ----------------------------------------------------------------------------------------------------

    async def _hold_orders(self, orders: Sequence[Order], until_driven: ExitStack) -> dict[str, HeldOrder]:
        """Locks, without waiting, the orders that can be called at once, each with a slot for its broker call.

        The stack releases them where they come to be driven by nobody.
        """
        held: dict[str, HeldOrder] = {}
        for order in orders:
            lock = self.driver.order_lock(order.order_id)
            slots = self.driver.call_slots(order)
            if (
                self.driver.has_to_wait(order)
                or self.driver.protections.holds(order)
                or self._lines.is_busy(order.key)
                or lock.locked()
                or slots.locked()
            ):
                continue
            await lock.acquire()
            await slots.acquire()
            held[order.order_id] = HeldOrder(lock, slots)
            until_driven.callback(held[order.order_id].release)
        return held

    def _begin_line(
        self,
        orders: Sequence[Order],
        received: asyncio.Future[Mapping[str, Outcome] | None],
        held: Mapping[str, HeldOrder],
        began_ns: int,
    ) -> asyncio.Task[None]:
        """Begins to drive the orders of one position key once they are received; None: they weren't, and nothing is done."""
        holds = [held[order.order_id] for order in orders if order.order_id in held]

        def ended() -> None:
            for hold in holds:
                hold.release()

        async def drive() -> None:
            if (outcomes := await asyncio.shield(received)) is not None:
                await self._drive_in_sequence(orders, outcomes, held, began_ns)

        return self._lines.begin(orders[0].key, [order.order_id for order in orders], drive, ended)

    async def _drive_in_sequence(
        self,
        orders: Sequence[Order],
        outcomes: Mapping[str, Outcome],
        held: Mapping[str, HeldOrder],
        began_ns: int,
    ) -> None:
        """Drives the orders of one position key, one after the other."""
        for order in orders:
            outcome = outcomes[order.order_id]
            with self._context.spans.driving(order, began_ns, new=outcome is not None):
                await self._drive_received(order, outcome, held.get(order.order_id))

    async def _drive_received(self, order: Order, outcome: Outcome, hold: HeldOrder | None) -> None:
        if hold is None and isinstance(outcome, Order):
            await self.driver.drive(order.order_id, outcome)
        elif hold is None:
            async with self.driver.order_lock(order.order_id):
                await self.driver.drive_known_signal(order)
            await self.driver.nudge(order)
        else:
            try:
                await self.driver.drive_held(order, outcome, hold)
            finally:
                hold.release()
            await self.driver.nudge(order)

    def _resuming(self) -> Callable[[str], Coroutine[Any, Any, None]]:
        """Drives an open order, 16 of a broker at a time."""
        reading = asyncio.Semaphore(_RESUMED_AT_ONCE)
        few: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_RESUMED_AT_ONCE))

        async def one(order_id: str) -> None:
            async with reading:
                order = await self.driver.order(order_id)
            began = self._context.spans.began()
            async with few[order.key.broker]:
                with self._context.spans.driving(order, began, new=False, resumed=True):
                    await self.driver.drive(order_id)

        return one

    def _parts(self, approved: Approved) -> tuple[int, ...]:
        """The slices of an order; one slice if it can't be sliced, which the checks then refuse."""
        instrument = self._context.instruments().by_id(approved.key.instrument_id)
        if instrument is None:
            return (approved.quantity,)
        try:
            return slices(approved.quantity, instrument.lot_size, instrument.freeze_quantity)
        except InvalidInput:
            return (approved.quantity,)
