"""Drives an order through its state machine to a final status.

Intent before effect (rule 2): an intent is committed as SUBMITTING just before the broker call, in a transaction that
locks the kill switches. From then on nobody sends that intent again; it is only looked up. `drive` continues an order
from whatever its row says, so any process may call it for any order. An order that this process has just stored is
continued from memory; where a compare-and-set fails, it is continued from its row.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from weakref import WeakValueDictionary

import structlog

from alphapanda.domain.order import OrderStatus
from alphapanda.domain.signal import MANUAL
from alphapanda.resilience.failures import TransientFailure
from alphapanda.trading.attempts import Attempts
from alphapanda.trading.broker_calls import BrokerCalls
from alphapanda.trading.call_slots import CallSlots, HeldOrder
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.core.order import Order
from alphapanda.trading.decision import Call
from alphapanda.trading.decision_commits import DecisionCommits, Outcome
from alphapanda.trading.execution_context import ExecutionContext, Step
from alphapanda.trading.inquiry import Inquiry, LookUps
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.protection_gate import NothingProtected, ProtectionGate
from alphapanda.trading.traders.trader import ExecutionMode

_log = structlog.get_logger(__name__)


class OrderDriver:
    """Drives orders, each under a lock of its own in this process.

    Args:
        context: store, traders, market and clocks.
        checks: the checks before sending.
        options: send window and call timeout.
        at: called with the name of each step; for tests.
        look_up_interval: seconds between two look-ups of one order.

    Attributes:
        attempts: this process's attempts to send.
        commits: stores decisions.
        calls: makes broker calls and stores their answers.
        look_ups: the orders that are looked up in the background.
        protections: holds exits of protected positions back.
    """

    def __init__(
        self,
        context: ExecutionContext,
        checks: PreSubmitChecks,
        options: TradingOptions,
        at: Step,
        look_up_interval: float,
    ) -> None:
        self._context = context
        self._driving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._ended: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._rests: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._slots: defaultdict[str, CallSlots] = defaultdict(CallSlots)
        self.attempts = Attempts()
        self.checks = checks
        self.commits = DecisionCommits(context, checks, self.attempts, at)
        self.calls = BrokerCalls(context, options, self.attempts, at)
        self.look_ups = LookUps(self._follow, context.boot_clock, look_up_interval)
        self._inquiry = Inquiry(context, options, self.look_ups)
        self.protections: ProtectionGate = NothingProtected()

    async def drive(self, order_id: str, known: Order | None = None) -> None:
        """Drives an order as far as possible now: to its end, or until it needs look-ups, which run in the background.

        Args:
            order_id: the order's id.
            known: the order as this process last stored it; others may have changed it since. None: its row is read.
        """
        async with self.order_lock(order_id):
            try:
                driven = await self._drive(known or await self.order(order_id))
            except asyncio.CancelledError:
                self.look_ups.follow(order_id)  # if its call was not begun, it is decided again (rule 18)
                raise
        await self.nudge(driven)

    async def nudge(self, order: Order) -> None:
        """Has the protections of an order's position stepped, because it has changed; its lock isn't held any more."""
        if self.protections.concerns(order.key):
            await self.protections.nudge(order.key)

    async def wait_for_end(
        self, order_id: str, timeout: float, *, is_new: bool = False, or_rests: bool = False
    ) -> None:
        """Returns once the order has ended, or after `timeout` seconds.

        Args:
            order_id: the order's id.
            timeout: seconds.
            is_new: the order can't have ended before this call, so its row isn't read.
            or_rests: returns also once it rests at a broker that tells of its fills.
        """
        waiting = self._rests if or_rests else self._ended
        ended = waiting.setdefault(order_id, asyncio.Event())
        if not is_new:
            order = await self.order(order_id)
            if order.status.is_final or (or_rests and self._is_resting(order)):
                waiting.pop(order_id, None)
                ended.set()
                return
        try:
            await asyncio.wait_for(ended.wait(), timeout)
        except TimeoutError:
            return

    def _is_resting(self, order: Order) -> bool:
        trader = self._context.traders.get(order.key.broker)
        accepted = order.status in (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)
        return accepted and order.terms.rests and trader is not None and trader.tells_of_fills

    async def drive_held(self, order: Order, outcome: Outcome, hold: HeldOrder) -> None:
        """Drives an order that this task holds, after its decision.

        Args:
            order: the order as risk approved it.
            outcome: the decision as it was stored; where nothing was stored, the order continues from its row.
            hold: the order's lock and call slot; the slot is released after the call, the lock stays held.
        """
        if isinstance(outcome, Call):
            made, report = await self.calls.make(outcome)
            hold.release_slot()
            order = await self.calls.store_answer(outcome, report) if made else outcome.order
            await self._drive(order, told=made)
            return
        hold.release_slot()
        if isinstance(outcome, Order):
            await self._drive(outcome)
        else:
            await self.drive_known_signal(order)

    async def drive_known_signal(self, approved: Order) -> None:
        """Continues the order of a signal received before, whose lock this task holds.

        A manual order that waits for its verdict gets it here.
        """
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
            order = validated(order, approved)
        await self._drive(order)

    def has_to_wait(self, order: Order) -> bool:
        """Whether the order's broker isn't active here, or isn't ready for an exit; entries then end by their checks."""
        trader = self._context.traders.get(order.key.broker)
        return trader is None or bool(not order.effect.is_entry and trader.not_ready_for(order.key.account))

    def order_lock(self, order_id: str) -> asyncio.Lock:
        """The lock that a task holds while it drives an order in this process."""
        return self._driving.setdefault(order_id, asyncio.Lock())

    def free_slots(self, broker: str) -> tuple[int, int]:
        """Broker calls that may begin at once: of entries, and of exits."""
        slots = self._slots[broker]
        return slots.entries.free, slots.exits.free

    def call_slots(self, order: Order) -> asyncio.Semaphore:
        """The slots for broker calls that the order's call takes one of."""
        slots = self._slots[order.key.broker]
        return slots.entries if order.effect.is_entry else slots.exits

    def change_slots(self, broker: str) -> asyncio.Semaphore:
        """The slots for calls that change orders: those of exits, because entries never delay a cancellation."""
        return self._slots[broker].exits

    async def order(self, order_id: str) -> Order:
        """Reads an order from its row.

        Raises:
            LookupError: there is no such order.
        """
        stored = await self._context.store.find(order_id)
        if stored is None:
            raise LookupError(f"there is no order {order_id}")
        return stored.order

    def settle(self, order: Order) -> None:
        """Stops the look-ups of an order that needs no more work, and wakes whoever waits for its end."""
        self.look_ups.forget(order.order_id)
        if order.status.is_final:
            self._context.spans.settled(order.order_id)
            self.attempts.forget(order.order_id)
            for intent in order.intents:
                self.look_ups.settled(intent.intent_id)
            for waiting in (self._ended, self._rests):
                if (ended := waiting.pop(order.order_id, None)) is not None:
                    ended.set()

    async def _drive(self, order: Order, *, told: bool = False) -> Order:
        """Drives an order whose lock this task holds.

        Args:
            order: as it is stored.
            told: whether the broker has just told its state.

        Returns:
            The order afterwards.
        """
        while (intent := order.current) is not None:
            if order.key.broker not in self._context.traders:
                _log.warning(
                    "order.broker_not_active",
                    order_id=order.order_id,
                    broker=order.key.broker,
                    strategy_id=order.key.strategy_id,
                )
                return order
            # Who tells of its fills is asked only to learn what happened meanwhile: once, and not in the background.
            waits = not intent.unanswered and self._context.traders[order.key.broker].tells_of_fills
            if intent.status is OrderStatus.PENDING_SUBMIT:
                ready = await self._ready(order)
                if ready is None:
                    return order
                order = await self._send(ready) if ready.current is not None else ready
                told = True
            elif self.attempts.was_never_called(order, intent):
                _log.warning("order.never_called", order_id=order.order_id, tag=intent.tag)
                order = order.copy()
                order.never_called(order.intents[intent.number])
            elif told and waits:
                self.look_ups.forget(order.order_id)
                if order.terms.rests and (resting := self._rests.pop(order.order_id, None)):
                    resting.set()
                return order
            else:
                order, settled = await self._inquiry.look_up(order, intent)
                told = True
                if not settled and not waits:
                    self.look_ups.follow(order.order_id)
                    return order
        self.settle(order)
        return order

    async def _ready(self, order: Order) -> Order | None:
        """An order as its next intent may be sent, or as it has ended; None: it is followed until it may be sent."""
        if self.has_to_wait(order):
            if self.look_ups.follow(order.order_id):
                self._tell_of_waiting(order)
            return None
        if self.calls.has_to_pause(order.order_id):
            self.look_ups.follow(order.order_id)
            return None
        if not self.protections.holds(order):
            return order
        passed = await self.protections.may_go(order)
        if passed is None:
            self.look_ups.follow(order.order_id)
        return passed

    def _tell_of_waiting(self, order: Order) -> None:
        """Says that an exit waits for its broker; at a live one a person has to know (REAL_MONEY rule 13)."""
        trader = self._context.traders.get(order.key.broker)
        live = trader is not None and trader.get_execution_mode() is ExecutionMode.LIVE
        (_log.error if live else _log.warning)(
            "order.waits_for_broker",
            alarm=live,
            order_id=order.order_id,
            broker=order.key.broker,
            account=order.key.account,
            strategy_id=order.key.strategy_id,
            instrument_id=order.key.instrument_id,
            error="" if trader is None else trader.not_ready_for(order.key.account),
        )

    async def _follow(self, order_id: str) -> None:
        """Drives an order that is being followed; one whose row was never committed is no longer followed."""
        if await self._context.store.find(order_id) is None:
            self.look_ups.forget(order_id)
        else:
            await self.drive(order_id)

    async def _send(self, order: Order) -> Order:
        """Decides the next intent and makes its broker call; returns the order afterwards."""
        async with self.call_slots(order):
            outcome = await self.commits.decide(order)
            if isinstance(outcome, TransientFailure):
                raise outcome
            if not isinstance(outcome, Call):
                return outcome or await self.order(order.order_id)
            made, report = await self.calls.make(outcome)
        return await self.calls.store_answer(outcome, report) if made else outcome.order


def validated(order: Order, approved: Order) -> Order:
    """A manual order with the values of risk's approval applied."""
    order = order.copy()
    parts = [intent.quantity for intent in approved.intents]
    order.validated(approved.side, approved.quantity, approved.effect, approved.causation_id, parts)
    return order
