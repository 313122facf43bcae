"""The machine that takes an order from its row to its end.

Intent before effect (rule 2): PENDING_SUBMIT becomes SUBMITTING in a transaction committed just before the call, under
the order's lock and with the kill switch held; from then on nobody sends that intent again, it is only looked up. So
whoever meets an order, whatever its row says, calls `drive`: it goes on from there.

Steps told to `at`: received, stored, decided, submitting_committed, called, answered, committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from weakref import WeakValueDictionary

import structlog

from alphapanda.consuming.delivery import CannotDiscard
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import FailureReason, OrderStatus, TradingState
from alphapanda.domain.signal import MANUAL
from alphapanda.domain.verdict import Approved
from alphapanda.trading.core.broker_order import BrokerOrder
from alphapanda.trading.core.checks import Circumstances, NotSent, PreSubmitChecks
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order, order_id_of
from alphapanda.trading.core.slicing import slices
from alphapanda.trading.inquiry import Inquiry
from alphapanda.trading.look_up import LookUps
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.ports import Step, no_step
from alphapanda.trading.store.port import TradingTransaction
from alphapanda.trading.surroundings import Surroundings, locked_order, reported
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer, Placement

_AT_ONCE = 16
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Call:
    """An intent that this process alone took to SUBMITTING, with the boot time and market time read before that."""

    intent: Intent
    placement: Placement
    began: float
    market_time: datetime | None


class OrderExecutor:
    """Executes orders.

    Args:
        surroundings: what it works with.
        checks: the checks before sending.
        options: send window and call timeout.
        at: told of each step; for tests.
        look_up_interval: seconds between two look-ups of one order.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        checks: PreSubmitChecks,
        options: TradingOptions,
        at: Step = no_step,
        look_up_interval: float = 0.25,
    ) -> None:
        self._with = surroundings
        self._checks = checks
        self._options = options
        self._at = at
        self._epoch = 0
        self._driving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._ended: dict[str, asyncio.Event] = {}
        self._look_ups = LookUps(self.drive, surroundings.boot_clock, look_up_interval)
        self._inquiry = Inquiry(surroundings, options, self._look_ups)

    async def start(self) -> None:
        """Takes over: a new epoch, and every order that has not ended goes on from its row, before anything new.

        Raises:
            asyncio's and the database's errors where the rows can't be read; call it again.
        """
        self._epoch = await self._with.store.next_epoch()
        await self.resume()

    async def resume(self) -> None:
        """Every order that has not ended goes on from its row.

        Raises:
            asyncio's and the database's errors where the rows can't be read; call it again.
        """
        await self.drive_all(await self._with.store.open_orders())

    async def stop(self) -> None:
        """Ends the look-ups. Orders under way stay as their rows say; the next start goes on."""
        await self._look_ups.stop()

    async def receive(self, approved: Sequence[tuple[Approved, str]]) -> list[Order]:
        """Stores the orders of approved signals, each with the id of its verdict's event, in one transaction.

        A signal that has its order already changes nothing: the order's row decides what is still to be done. But a
        person's order that waits for its verdict has it now.

        Returns:
            The orders, in order, as risk let them through; without those of which it was told that they would never be.
        """
        self._at("received")
        orders = [
            Order.approved(verdict, causation_id, self._parts(verdict)) for verdict, causation_id in approved
        ]
        async with self._with.store.transaction() as transaction:
            taken = [order for order in orders if await self._take(transaction, order)]
        self._at("stored")
        return taken

    async def _take(self, transaction: TradingTransaction, order: Order) -> bool:
        """Stores an order that risk let through; False where risk was told that there would never be one."""
        if await transaction.add(order):
            return True
        if await transaction.is_buried(order.signal_id):
            _log.warning("came after its reservation was released", signal_id=order.signal_id)
            return False
        if order.key.strategy_id == MANUAL:
            await _let_through(transaction, order)
        return True

    async def refuse(
        self, signal_id: str, message: str, causation_id: str, market_time: datetime | None
    ) -> None:
        """Risk refused a person's order; one that isn't waiting for its verdict stays as it is."""
        async with self._with.store.transaction() as transaction:
            order = await transaction.locked(order_id_of(signal_id))
            if order is None or order.status is not OrderStatus.PENDING_RISK:
                return
            await self._with.publish(
                transaction, order, order.refused_by_risk(message, causation_id, market_time)
            )
        await self.drive(order.order_id)

    async def discard(self, verdict: Approved, causation_id: str) -> None:
        """A person gives up a signal that was parked behind a bug: its order ends unsent, FAILED(DISCARDED).

        Raises:
            CannotDiscard: part of it was sent already; it has to be driven to its true end.
        """
        received = await self.receive([(verdict, causation_id)])
        if not received:
            raise CannotDiscard("risk was told that it would never be an order; redrive it")
        order_id = received[0].order_id
        market = await self._with.market_now(None, may_be_unknown=True)
        async with self._with.store.transaction() as transaction:
            order = await locked_order(transaction, order_id)
            if order.status is OrderStatus.FAILED and order.failure is FailureReason.DISCARDED:
                return
            if not _is_to_be_sent(order) or order.status is not OrderStatus.PENDING_SUBMIT:
                raise CannotDiscard(f"order {order_id} is {order.status.name}; redrive it")
            message = "a person discarded it while it was parked"
            await self._with.publish(
                transaction, order, order.not_sent(FailureReason.DISCARDED, message, market.market_time)
            )
        await self.drive(order_id)

    async def drive_all(self, order_ids: Iterable[str]) -> None:
        """Drives orders, a few at a time; raises the first error once all have been tried."""
        few = asyncio.Semaphore(_AT_ONCE)

        async def one(order_id: str) -> None:
            async with few:
                await self.drive(order_id)

        results = await asyncio.gather(*map(one, order_ids), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def drive(self, order_id: str) -> None:
        """Takes an order as far as it goes now: to its end, or to where only look-up helps, which then goes on alone."""
        alone = self._driving.setdefault(order_id, asyncio.Lock())
        async with alone:
            order = await self._order(order_id)
            while True:
                if order.key.broker not in self._with.traders:
                    _log.warning(
                        "order at a broker that is not active", order_id=order_id, key=str(order.key)
                    )
                    return
                intent = order.current
                if intent is None:
                    break
                if intent.status is OrderStatus.PENDING_SUBMIT:
                    order = await self._send(order)
                    continue
                order, settled = await self._inquiry.ask(order, intent)
                if not settled:
                    self._look_ups.follow(order_id)
                    return
        self._look_ups.forget(order_id)
        if order.status.is_final and (waiting := self._ended.pop(order_id, None)):
            waiting.set()

    async def wait_for_end(self, order_id: str, timeout: float) -> None:
        """Returns once the order has ended, or after `timeout` seconds."""
        ended = self._ended.setdefault(order_id, asyncio.Event())
        if (await self._order(order_id)).status.is_final:
            self._ended.pop(order_id, None)
            ended.set()
            return
        try:
            await asyncio.wait_for(ended.wait(), timeout)
        except TimeoutError:
            return

    # -- sending ------------------------------------------------------------------------------------------------------

    async def _send(self, order: Order) -> Order:
        """Decides on the next intent and calls the broker for it; returns the order after that."""
        call = await self._decide(order, self._with.boot_clock())
        if isinstance(call, Order):
            return call

        self._at("submitting_committed")
        trader = self._with.traders[order.key.broker]
        told: BrokerOrder | None = None
        # Frozen between the commit and here, this process may be too late: others may have looked the intent up.
        if self._with.boot_clock() - call.began <= self._options.send_window_seconds:
            try:
                async with asyncio.timeout(self._options.call_timeout_seconds):
                    told = await trader.execute_order(call.placement)
            except (TimeoutError, NoClearAnswer) as unclear:
                _log.warning(
                    "no clear answer", order_id=order.order_id, tag=call.intent.tag, error=repr(unclear)
                )
        else:
            _log.warning("too late to send, left to look-up", order_id=order.order_id, tag=call.intent.tag)
        self._at("called")
        answered = await self._answer(order.order_id, call, told)
        self._with.order_sent(order.key.broker, self._with.boot_clock() - call.began)
        return answered

    async def _decide(self, order: Order, began: float) -> _Call | Order:
        """Takes the next intent to SUBMITTING; or the order as it is, where it ended or went on without us."""
        broker = order.key.broker
        simulated = self._with.traders[broker].get_execution_mode() is ExecutionMode.PAPER
        market = await self._with.market_now(order, may_be_unknown=order.effect.is_entry or not simulated)
        mirrored = await self._with.mirror.state(broker)
        instrument = self._instrument(order)
        async with self._with.store.transaction() as transaction:
            locked = await locked_order(transaction, order.order_id)
            if not _is_to_be_sent(locked):
                return locked
            copy = await transaction.kill_switch(broker, locked.key.strategy_id)
            at = Circumstances(
                instrument=instrument,
                market=market,
                position=await transaction.position(locked.key),
                state=_strictest(copy.state, mirrored),
                simulated=simulated,
            )
            decision = self._checks.judge(locked, at)
            if isinstance(decision, NotSent):
                await self._with.publish(
                    transaction,
                    locked,
                    locked.not_sent(decision.reason, decision.message, market.market_time),
                )
                self._at("decided")
                _log.info("order not sent", order_id=order.order_id, broker=broker, why=decision.message)
                return locked
            locked.send_as(decision.parts)
            intent = locked.submitting(self._epoch)
            await transaction.save(locked)
            self._at("decided")
        if instrument is None:  # the checks refuse what isn't known
            raise LookupError(f"order {order.order_id} passed its checks without an instrument")
        return _Call(intent, _placement(locked, intent, instrument), began, market.market_time)

    async def _answer(self, order_id: str, call: _Call, told: BrokerOrder | None) -> Order:
        async with self._with.store.transaction() as transaction:
            locked = await locked_order(transaction, order_id)
            mine = locked.intents[call.intent.number]
            if told is not None:
                await self._with.publish(transaction, locked, reported(locked, mine, told, call.market_time))
            elif mine.status is OrderStatus.SUBMITTING:
                locked.no_clear_answer(mine)
                await transaction.save(locked)
            self._at("answered")
        self._at("committed")
        return locked

    # -- within -------------------------------------------------------------------------------------------------------

    async def _order(self, order_id: str) -> Order:
        stored = await self._with.store.find(order_id)
        if stored is None:
            raise LookupError(f"there is no order {order_id}")
        return stored.order

    def _instrument(self, order: Order) -> Instrument | None:
        return self._with.instruments().by_id(order.key.instrument_id)

    def _parts(self, approved: Approved) -> tuple[int, ...]:
        """The slices to come; one for what can't be sliced, which the checks then refuse."""
        instrument = self._with.instruments().by_id(approved.key.instrument_id)
        if instrument is None:
            return (approved.quantity,)
        try:
            return slices(approved.quantity, instrument.lot_size, instrument.freeze_quantity)
        except InvalidInput:
            return (approved.quantity,)


async def _let_through(transaction: TradingTransaction, approved: Order) -> None:
    asked_for = await transaction.locked(approved.order_id)
    if asked_for is None or asked_for.status is not OrderStatus.PENDING_RISK:
        return
    asked_for.validated(
        approved.side,
        approved.quantity,
        approved.effect,
        approved.causation_id,
        [intent.quantity for intent in approved.intents],
    )
    await transaction.save(asked_for)


def _is_to_be_sent(order: Order) -> bool:
    intent = order.current
    return intent is not None and intent.status is OrderStatus.PENDING_SUBMIT


def _strictest(own: TradingState, mirrored: TradingState) -> TradingState:
    return max(own, mirrored)


def _placement(order: Order, intent: Intent, instrument: Instrument) -> Placement:
    return Placement(
        account=order.key.account,
        tag=intent.tag,
        instrument=instrument,
        instrument_token=order.instrument_token,
        side=order.side,
        quantity=intent.quantity,
        product=order.key.product,
        order_type=order.order_type,
    )
