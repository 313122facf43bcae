"""Drives an order through its state machine to a final status.

Intent before effect (rule 2): PENDING_SUBMIT becomes SUBMITTING in a transaction committed just before the call, as a
compare-and-set with the kill switch held; from then on nobody sends that intent again, it is only looked up. So whoever
meets an order, whatever its row says, calls `drive`: it goes on from there. What this process just wrote isn't read
again: it goes on from memory, and from the row where the compare fails.

Steps told to `at`: received, decided, stored, submitting_committed, called, answered, committed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import structlog

from alphapanda.consuming.delivery import CannotDiscard
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import FailureReason, OrderStatus
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.domain.signal import MANUAL, PositionKey
from alphapanda.domain.verdict import Approved
from alphapanda.resilience.failures import TransientFailure
from alphapanda.trading.core.broker_order import BrokerOrder
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order, order_id_of
from alphapanda.trading.core.slicing import slices
from alphapanda.trading.decision import Call, Decision, Decisions, Reading
from alphapanda.trading.execution_context import (
    ExecutionContext,
    Step,
    locked_order,
    no_step,
    reported,
)
from alphapanda.trading.group_commit import GroupCommit
from alphapanda.trading.inquiry import Inquiry, LookUps
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.store.port import Account, OrderChange, TradingTransaction
from alphapanda.trading.traders.trader import NoClearAnswer

CALLS_AT_ONCE = 10
"""Broker calls under way, of entries and of exits, which entries never keep waiting. A place is taken before SUBMITTING
is committed, so that the call begins right after it; both together are as many as the paper exchange has connections,
so that no call waits for one while its time-out runs."""
_RESUMED_AT_ONCE = 16
_ATTEMPTS_OF_AN_EPOCH: Final = 2**32
T = TypeVar("T")
R = TypeVar("R")
_log = structlog.get_logger(__name__)

Outcome = Call | Order | TransientFailure | None
"""What a decision came to: a call to be made, the order where there is none, why it has to wait, or None where the row
isn't as it was known."""


class OrderExecutor:
    """Executes orders.

    Args:
        context: what it works with.
        checks: the checks before sending.
        options: send window and call timeout.
        at: told of each step; for tests.
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
        self._with = context
        self._options = options
        self._at = at
        self._epoch = 0
        self._driving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._ended: dict[str, asyncio.Event] = {}
        self._entries = asyncio.Semaphore(CALLS_AT_ONCE)
        self._exits = asyncio.Semaphore(CALLS_AT_ONCE)
        self._attempts = 0
        self._uncalled: defaultdict[str, set[int]] = defaultdict(set)
        self._decisions = Decisions(context, checks)
        self._deciding: dict[Account, GroupCommit[Order, Outcome]] = {}
        self._saving: dict[Account, GroupCommit[OrderChange, bool]] = {}
        self._look_ups = LookUps(self._follow, context.boot_clock, look_up_interval)
        self._inquiry = Inquiry(context, options, self._look_ups)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Takes over: a new epoch, and every order that has not ended goes on from its row, before anything new.

        Raises:
            asyncio's and the database's errors where the rows can't be read; call it again.
        """
        self._epoch = await self._with.store.next_epoch()
        self._look_ups.begin()
        await self.resume()

    async def resume(self) -> None:
        """Every order that has not ended goes on from its row.

        Raises:
            asyncio's and the database's errors where the rows can't be read; call it again.
        """
        still_open = await self._with.store.open_orders()
        for order_id in self._uncalled.keys() - still_open:
            if not self._alone(order_id).locked():
                del self._uncalled[order_id]
        await self.drive_all(still_open)

    async def stop(self) -> None:
        """Ends the look-ups. Orders under way stay as their rows say; the next start goes on."""
        await self._look_ups.stop()

    # -- orders -------------------------------------------------------------------------------------------------------

    async def execute(self, approved: Sequence[tuple[Approved, str]]) -> None:
        """Executes signals that risk let through, each with the id of its verdict's event, as far as they go now.

        Their orders are stored in one transaction, which also decides on those that can be called at once: one of each
        position key, as many as there are places. Orders of one key go one after the other, keys side by side. A signal
        that has its order already goes on from its row.

        Raises:
            the first error, once everything else has been tried; the same signals may come again.
        """
        self._at("received")
        orders: dict[str, Order] = {}
        by_key: defaultdict[PositionKey, list[Order]] = defaultdict(list)
        for verdict, causation_id in approved:
            order = Order.approved(verdict, causation_id, self._parts(verdict))
            if orders.setdefault(order.order_id, order) is order:
                by_key[order.key].append(order)
        held = await self._hold([line[0] for line in by_key.values()])
        try:
            outcomes = await self._receive(list(orders.values()), held)
            await _all(self._in_sequence(line, outcomes, held) for line in by_key.values())
        except asyncio.CancelledError:
            for order_id in held:
                self._look_ups.follow(order_id)
            raise
        finally:
            for hold in held.values():
                hold.release()

    async def let_through(self, asked_for: Order, approved: Approved, causation_id: str) -> None:
        """Risk let a person's order through, which this process knows as it was stored; it goes as far as it goes."""
        order = Order.approved(approved, causation_id, self._parts(approved))
        await self.drive(order.order_id, _validated(asked_for, order))

    async def refuse(
        self, signal_id: str, message: str, causation_id: str, market_time: datetime | None
    ) -> None:
        """Risk refused a person's order; one that isn't waiting for its verdict stays as it is."""
        async with self._with.store.transaction() as transaction:
            order = await transaction.locked(order_id_of(signal_id))
            if order is None or order.status is not OrderStatus.PENDING_RISK:
                return
            events = order.refused_by_risk(message, causation_id, market_time)
            await transaction.save([self._with.change(order, events)])
        self._has_come_to_rest(order)

    async def discard(self, verdict: Approved, causation_id: str) -> None:
        """A person gives up a signal that was parked behind a bug: its order ends unsent, FAILED(DISCARDED).

        Raises:
            CannotDiscard: part of it was sent already; it has to be driven to its true end.
        """
        market_time = await self._with.market_time()

        def discarded(order: Order) -> list[OrderUpdate]:
            message = "a person discarded it while it was parked"
            return order.not_sent(FailureReason.DISCARDED, message, market_time)

        order = Order.approved(verdict, causation_id, self._parts(verdict))
        async with self._with.store.transaction() as transaction:
            if not await transaction.add([self._with.change(order, discarded(order))]):
                found = await transaction.locked(order.order_id)
                if found is None:
                    raise CannotDiscard("risk was told that it would never be an order; redrive it")
                if found.status is OrderStatus.FAILED and found.failure is FailureReason.DISCARDED:
                    return
                if found.status is OrderStatus.PENDING_RISK:
                    found = _validated(found, order)
                if found.status is not OrderStatus.PENDING_SUBMIT:
                    raise CannotDiscard(f"order {order.order_id} is {found.status.name}; redrive it")
                order = found
                await transaction.save([self._with.change(order, discarded(order))])
        self._has_come_to_rest(order)

    async def drive_all(self, order_ids: Iterable[str]) -> None:
        """Drives orders, a few at a time; raises the first error once all have been tried."""
        few = asyncio.Semaphore(_RESUMED_AT_ONCE)

        async def one(order_id: str) -> None:
            async with few:
                await self.drive(order_id)

        await _all(map(one, order_ids))

    async def drive(self, order_id: str, known: Order | None = None) -> None:
        """Takes an order as far as it goes now: to its end, or to where only look-up helps, which then goes on alone.

        Args:
            order_id: which.
            known: the order as this process last stored it, perhaps changed since; None: its row is read.
        """
        async with self._alone(order_id):
            try:
                await self._drive(known or await self._order(order_id))
            except asyncio.CancelledError:
                self._look_ups.follow(order_id)  # what was cut off before its call is decided anew (rule 18)
                raise

    async def wait_for_end(self, order_id: str, timeout: float, *, is_new: bool = False) -> None:
        """Returns once the order has ended, or after `timeout` seconds.

        Args:
            order_id: which.
            timeout: seconds.
            is_new: it can't have ended before this call, so its row isn't read.
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

    # -- receiving ----------------------------------------------------------------------------------------------------

    async def _hold(self, orders: Sequence[Order]) -> dict[str, _Hold]:
        """Takes, without waiting, the orders that can be called at once: nobody drives them here, and there is a place for their call."""
        held: dict[str, _Hold] = {}
        for order in orders:
            alone = self._alone(order.order_id)
            places = self._places(order)
            if order.key.broker not in self._with.traders or alone.locked() or places.locked():
                continue
            await alone.acquire()
            await places.acquire()
            held[order.order_id] = _Hold(alone, places)
        return held

    async def _receive(self, orders: Sequence[Order], held: Mapping[str, _Hold]) -> Mapping[str, Outcome]:
        """Stores orders and decides on those held; the outcome of each, None where its signal has an order already."""
        to_decide = [order for order in orders if order.order_id in held]
        known = await self._decisions.read(to_decide)
        async with self._with.store.transaction() as transaction:
            decisions = await self._decide(transaction, to_decide, known)
            changes = [
                decision.change if (decision := decisions.get(order.order_id)) else OrderChange(order)
                for order in orders
            ]
            stored = await transaction.add(changes)
            self._at("stored")
        return {order.order_id: self._outcome(order, decisions, stored) for order in orders}

    async def _decide_again(self, orders: Sequence[Order]) -> list[Outcome]:
        """Decides on orders that are rows, in one transaction; the outcome of each."""
        known = await self._decisions.read(orders)
        orders = [order.copy() for order in orders]
        async with self._with.store.transaction() as transaction:
            decisions = await self._decide(transaction, orders, known)
            saved = await transaction.save([decision.change for decision in decisions.values()])
            self._at("stored")
        return [
            self._outcome(order, decisions, saved)
            if order.order_id in decisions
            else TransientFailure("the price cache can't be read; a paper exit waits for it")
            for order in orders
        ]

    async def _decide(
        self, transaction: TradingTransaction, orders: Sequence[Order], known: Reading
    ) -> dict[str, Decision]:
        """The decisions on orders, by their ids. Those about to be called are known as uncalled from before the commit."""
        decisions: dict[str, Decision] = {}
        attempts = []
        for order in orders:
            self._attempts += 1
            attempts.append((order, self._epoch * _ATTEMPTS_OF_AN_EPOCH + self._attempts))
        decided = await self._decisions.decide(transaction, attempts, known)
        for order, decision in zip(orders, decided, strict=True):
            if decision is not None:
                decisions[order.order_id] = decision
                if decision.call is not None:
                    self._uncalled[order.order_id].add(decision.call.intent.epoch)
        self._at("decided")
        return decisions

    def _outcome(
        self, order: Order, decisions: Mapping[str, Decision], stored: Collection[str]
    ) -> Call | Order | None:
        """What came of an order, once that is committed."""
        decision = decisions.get(order.order_id)
        call = decision.call if decision else None
        if order.order_id not in stored:
            if call is not None:
                self._uncalled[order.order_id].discard(call.intent.epoch)
            return None
        return call or order

    async def _in_sequence(
        self, orders: Sequence[Order], outcomes: Mapping[str, Outcome], held: Mapping[str, _Hold]
    ) -> None:
        """Takes the orders of one key to their ends, one after the other."""
        for order in orders:
            outcome = outcomes[order.order_id]
            hold = held.get(order.order_id)
            if hold is None and isinstance(outcome, Order):
                await self.drive(order.order_id, outcome)
            elif hold is None:
                async with self._alone(order.order_id):
                    await self._drive_known_signal(order)
            else:
                try:
                    await self._drive_held(order, outcome, hold)
                finally:
                    hold.release()

    async def _drive_held(self, order: Order, outcome: Outcome, hold: _Hold) -> None:
        if isinstance(outcome, Call):
            made, report = await self._make(outcome)
            hold.give_place()
            await self._drive(await self._answer(outcome, report) if made else outcome.order)
            return
        hold.give_place()
        if isinstance(outcome, Order):
            await self._drive(outcome)
        else:
            await self._drive_known_signal(order)

    async def _drive_known_signal(self, approved: Order) -> None:
        """Goes on with the order of a signal that came before; a person's order that waits for its verdict has it now."""
        stored = await self._with.store.find(approved.order_id)
        if stored is None:
            if not await self._with.store.is_buried(approved.signal_id):
                raise LookupError(f"signal {approved.signal_id} has no order and isn't buried")
            _log.warning(
                "signal.ignored", signal_id=approved.signal_id, reason="reservation already released"
            )
            return
        order = stored.order
        if order.key.strategy_id == MANUAL and order.status is OrderStatus.PENDING_RISK:
            order = _validated(order, approved)
        await self._drive(order)

    # -- driving ------------------------------------------------------------------------------------------------------

    async def _drive(self, order: Order) -> None:
        """See `drive`; nobody else in this process drives it meanwhile."""
        while (intent := order.current) is not None:
            if order.key.broker not in self._with.traders:
                _log.warning(
                    "order.broker_not_active",
                    order_id=order.order_id,
                    broker=order.key.broker,
                    strategy_id=order.key.strategy_id,
                )
                return
            if intent.status is OrderStatus.PENDING_SUBMIT:
                order = await self._send(order)
            elif self._was_never_called(order, intent):
                _log.warning("order.never_called", order_id=order.order_id, tag=intent.tag)
                order = order.copy()
                order.never_called(order.intents[intent.number])
            else:
                order, settled = await self._inquiry.ask(order, intent)
                if not settled:
                    self._look_ups.follow(order.order_id)
                    return
        self._has_come_to_rest(order)

    async def _follow(self, order_id: str) -> None:
        """Drives an order on; one that was cut off before its row was committed isn't there, and comes again."""
        if await self._with.store.find(order_id) is None:
            self._look_ups.forget(order_id)
        else:
            await self.drive(order_id)

    async def _send(self, order: Order) -> Order:
        """Decides on the next intent and calls the broker for it; returns the order after that."""
        async with self._places(order):
            outcome = await self._group(self._deciding, self._decide_again, order).ask(order)
            if isinstance(outcome, TransientFailure):
                raise outcome
            if not isinstance(outcome, Call):
                return outcome or await self._order(order.order_id)
            made, report = await self._make(outcome)
        return await self._answer(outcome, report) if made else outcome.order

    async def _make(self, call: Call) -> tuple[bool, BrokerOrder | None]:
        """Calls the broker: whether that was done, and its answer; None where that isn't clear."""
        self._at("submitting_committed")
        order_id = call.order.order_id
        # Frozen between the commit and here, this process may be too late: others may have looked the intent up.
        if self._with.boot_clock() - call.began > self._options.send_window_seconds:
            return False, None
        # From here on it may have been made, and no attempt before it can still be committed.
        self._uncalled.pop(order_id, None)
        trader = self._with.traders[call.order.key.broker]
        report: BrokerOrder | None = None
        try:
            async with asyncio.timeout(self._options.call_timeout_seconds):
                report = await trader.execute_order(call.placement)
        except (TimeoutError, NoClearAnswer) as unclear:
            _log.warning("order.answer_unclear", order_id=order_id, tag=call.intent.tag, error=repr(unclear))
        self._at("called")
        return True, report

    async def _answer(self, call: Call, report: BrokerOrder | None) -> Order:
        """Stores what the broker answered, where the row is still as it was before the call; else upon what it is."""
        order = call.order.copy()
        events = _answered(order, call, report)
        self._at("answered")
        change = self._with.change(order, events)
        if not await self._group(self._saving, self._save, order).ask(change):
            async with self._with.store.transaction() as transaction:
                order = await locked_order(transaction, order.order_id)
                events = _answered(order, call, report)
                await transaction.save([self._with.change(order, events)])
        self._at("committed")
        self._with.order_sent(order.key.broker, self._with.boot_clock() - call.began)
        return order

    async def _save(self, changes: Sequence[OrderChange]) -> list[bool]:
        saved = await self._with.store.save(changes)
        return [change.order.order_id in saved for change in changes]

    def _was_never_called(self, order: Order, intent: Intent) -> bool:
        """Whether this process itself took the intent to SUBMITTING and knows that the call was never begun (rule 18)."""
        return intent.status is OrderStatus.SUBMITTING and intent.epoch in self._uncalled.get(
            order.order_id, ()
        )

    def _has_come_to_rest(self, order: Order) -> None:
        """Nothing is left to be done about it by itself."""
        self._look_ups.forget(order.order_id)
        if order.status.is_final:
            self._uncalled.pop(order.order_id, None)
            if waiting := self._ended.pop(order.order_id, None):
                waiting.set()

    # -- within -------------------------------------------------------------------------------------------------------

    def _alone(self, order_id: str) -> asyncio.Lock:
        """Held by who drives an order in this process."""
        return self._driving.setdefault(order_id, asyncio.Lock())

    def _places(self, order: Order) -> asyncio.Semaphore:
        return self._entries if order.effect.is_entry else self._exits

    def _group(
        self,
        groups: dict[Account, GroupCommit[T, R]],
        work: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        order: Order,
    ) -> GroupCommit[T, R]:
        """The transactions of an order's account; those of others don't wait for them."""
        account = Account(order.key.broker, order.key.account)
        if account not in groups:
            groups[account] = GroupCommit(work, CALLS_AT_ONCE)
        return groups[account]

    async def _order(self, order_id: str) -> Order:
        stored = await self._with.store.find(order_id)
        if stored is None:
            raise LookupError(f"there is no order {order_id}")
        return stored.order

    def _parts(self, approved: Approved) -> tuple[int, ...]:
        """The slices to come; one for what can't be sliced, which the checks then refuse."""
        instrument = self._with.instruments().by_id(approved.key.instrument_id)
        if instrument is None:
            return (approved.quantity,)
        try:
            return slices(approved.quantity, instrument.lot_size, instrument.freeze_quantity)
        except InvalidInput:
            return (approved.quantity,)


class _Hold:
    """An order that nobody else in this process drives, with a place for its call. Both are given back once."""

    def __init__(self, alone: asyncio.Lock, places: asyncio.Semaphore) -> None:
        self._alone: asyncio.Lock | None = alone
        self._places: asyncio.Semaphore | None = places

    def give_place(self) -> None:
        """Its call is over, or isn't made."""
        if self._places is not None:
            self._places.release()
            self._places = None

    def release(self) -> None:
        """It may be driven by others."""
        self.give_place()
        if self._alone is not None:
            self._alone.release()
            self._alone = None


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Does all of it side by side, to the end of each; raises the first error then."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _validated(asked_for: Order, approved: Order) -> Order:
    """A person's order as risk let it through."""
    order = asked_for.copy()
    parts = [intent.quantity for intent in approved.intents]
    order.validated(approved.side, approved.quantity, approved.effect, approved.causation_id, parts)
    return order


def _answered(order: Order, call: Call, report: BrokerOrder | None) -> list[OrderUpdate]:
    intent = order.intents[call.intent.number]
    if report is not None:
        return reported(order, intent, report, call.market_time)
    if intent.status is OrderStatus.SUBMITTING:
        order.no_clear_answer(intent)
    return []
