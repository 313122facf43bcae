"""Carries out the protections of positions: their stops at the exchange, their targets held here.

Each step is decided on rows and stored before anything follows from it: the protection's row is locked, its orders and changes
are read, and a new stop or exit is stored in the same transaction, as an order like any other. So processes that step the same
protection come one after the other, and a restart continues from the rows. Prices are read from the price cache at an interval
of its own; in lockstep, and after each change of the position's orders, it is stepped at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol
from weakref import WeakValueDictionary

import structlog
from typing_extensions import override

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.market import NOTHING_KNOWN, MarketView
from alphapanda.domain.order import OrderStatus, Side, TradingState
from alphapanda.domain.signal import PositionKey
from alphapanda.resilience.rounds import Rounds
from alphapanda.trading.core.checks import NotSent
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.protection_facts import Surroundings
from alphapanda.trading.core.protection_plan import Plan, cancelled, next_plan, passing
from alphapanda.trading.core.protection_record import ProtectionRecord, ProtectionState
from alphapanda.trading.driver import OrderDriver
from alphapanda.trading.execution_context import ExecutionContext, locked_order
from alphapanda.trading.protection_gate import ProtectionGate
from alphapanda.trading.protection_reading import ProtectionReading, named
from alphapanda.trading.store.port import TradingTransaction

MOST_STEPS: Final = 8
"""Steps of a protection in one go; what is left is done at the next interval."""
CHANGE_SECONDS: Final = 2.0
"""How long a step waits for what it asked to be changed; then it goes on at the next one."""

_NOT_ACCEPTED: Final = (OrderStatus.PENDING_SUBMIT, OrderStatus.SUBMITTING, OrderStatus.UNKNOWN)

_log = structlog.get_logger(__name__)


class Changes(Protocol):
    """What carries out changes of orders; OrderChanges implements it."""

    def follow(self, order_id: str) -> None:
        """Takes an order's stored changes further."""

    def keep(self, order_id: str) -> None:
        """Takes an order's stored changes further, unless this process does so already."""

    async def wait(self, order_ids: Sequence[str], seconds: float) -> None:
        """Returns once no change of these orders is unresolved, or after some seconds."""


class Protections(ProtectionGate):
    """Steps the protections of positions, and holds other exits back until they may pass.

    Args:
        context: store, traders, market and clocks.
        driver: drives orders.
        changes: carries out changes of orders.
        calendar: sessions.
        interval_seconds: wall time between two looks at prices.

    Attributes:
        in_lockstep: whether `step` is called for each frame; prices are looked at then alone.
        rounds: the looks at an interval; the owner starts and stops them.
    """

    def __init__(
        self,
        context: ExecutionContext,
        driver: OrderDriver,
        changes: Changes,
        calendar: TradingCalendar,
        interval_seconds: float,
    ) -> None:
        self._context = context
        self._driver = driver
        self._changes = changes
        self._reading = ProtectionReading(context, calendar)
        self._sides: dict[PositionKey, frozenset[Side]] = {}
        self._locks: WeakValueDictionary[PositionKey, asyncio.Lock] = WeakValueDictionary()
        self.in_lockstep = False
        self._again: set[PositionKey] = set()
        self._busy = 0
        self.rounds = Rounds("protections", self.look, interval_seconds, _log, at_once=True)

    # -- when -----------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a step is under way."""
        return self._busy > 0

    @override
    def expect(self, order: Order) -> None:
        known = self._sides.get(order.key, frozenset())
        self._sides[order.key] = known | {order.side}

    @override
    def concerns(self, key: PositionKey) -> bool:
        return key in self._sides

    @override
    def holds(self, order: Order) -> bool:
        sides = self._sides.get(order.key)
        return sides is not None and not order.protective and any(side is not order.side for side in sides)

    @override
    async def nudge(self, key: PositionKey) -> None:
        if self._lock(key).locked():
            self._again.add(key)  # whoever steps it now looks again
        else:
            await self.advance(key)

    @override
    async def at_rest(self, key: PositionKey) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CHANGE_SECONDS), self._lock(key):
                return

    async def look(self) -> None:
        """Reads which positions are protected, and steps each.

        Raises:
            Redis' and the database's errors; call it again.
        """
        await self.reload()
        if not self.in_lockstep:
            self._reading.look_at(await self._context.store.account_revisions())
            for key in list(self._sides):
                if not await self._reading.is_at_rest(key):
                    await self.advance(key)

    async def step(self) -> bool:
        """Steps the first protection that has something to do at the present prices.

        Returns:
            Whether one had; call it again then, after what that has caused.
        """
        if self._sides:
            self._reading.look_at(await self._context.store.account_revisions())
        for key in sorted(self._sides, key=_by_key):
            if not await self._reading.is_at_rest(key) and await self.advance(key):
                return True
        return False

    @override
    async def reload(self) -> None:
        live = await self._context.store.protections.live(self._context.wall_clock())
        for key, records in live.items():
            self._sides[key] = frozenset(record.guard.side for record in records)
        self._reading.keep(live)
        for key in [key for key in self._sides if key not in live and not self._lock(key).locked()]:
            del self._sides[key]

    async def advance(self, key: PositionKey) -> bool:
        """Takes a position's protections as far as they go now; returns whether there was anything to do."""
        if key.broker not in self._context.traders:
            return False
        done = False
        self._busy += 1
        try:
            async with self._lock(key):
                self._reading.forget(key)
                for _ in range(MOST_STEPS):
                    self._again.discard(key)
                    if not await self._once(key) and key not in self._again:
                        break
                    done = True
        finally:
            self._busy -= 1
        return done

    # -- what -----------------------------------------------------------------------------------------------------

    @override
    async def may_go(self, order: Order) -> Order | None:
        """What becomes of another exit of a protected position, before it is sent.

        Args:
            order: the order as it is stored; its lock is held.

        Returns:
            The order as it is stored then: as it was, cut to what is held, or ended. None: it has to wait.
        """
        order = order.copy()
        if not await self._context.store.save(
            [self._context.change(order)]
        ):  # an exit that waits has to be seen
            return None
        if not order.terms.rests:  # nothing is cancelled for one that would rest: it is refused
            await self.advance(order.key)
        market = await self._reading.market(order.key.broker, order.instrument_token)
        self._busy += 1
        try:
            async with self._lock(order.key), self._context.store.transaction() as transaction:
                return await self._passed(
                    transaction, await locked_order(transaction, order.order_id), market
                )
        finally:
            self._busy -= 1

    async def _passed(
        self,
        transaction: TradingTransaction,
        order: Order,
        market: tuple[MarketView, dict[str, TradingState]],
    ) -> Order | None:
        """A locked order as it may be sent, or as it has ended; None: it has to wait."""
        if order.status.is_final:
            return order
        records = await transaction.protections.locked(order.key)
        around = await self._reading.around(transaction, order.key, records, *market)
        verdict = order if around is None else passing(order, records, around)
        if verdict is None or verdict is order:
            return verdict
        if isinstance(verdict, NotSent):
            events = order.not_sent(verdict.reason, verdict.message, market[0].market_time)
            await transaction.save([self._context.change(order, events)])
            return order
        await transaction.save([self._context.change(verdict)])
        _log.warning(
            "order.cut_to_position", order_id=order.order_id, quantity=verdict.quantity, **named(order.key)
        )
        return verdict

    async def cancel(self, transaction: TradingTransaction, record: ProtectionRecord) -> Callable[[], None]:
        """Ends a protection in a transaction; returns what to call once that is committed.

        Args:
            transaction: the command's.
            record: the protection, not locked yet.
        """
        records = await transaction.protections.locked(record.key)
        found = next((one for one in records if one.protection_id == record.protection_id), None)
        if found is None or found.state is ProtectionState.ENDED:
            return lambda: None
        around = await self._reading.around(transaction, record.key, records, NOTHING_KNOWN, {})
        if around is None:
            found.state = ProtectionState.ENDED
            await transaction.protections.save([found])
            return lambda: None
        plan = cancelled(found, around)
        await self._store(transaction, plan)
        return lambda: self._begin_changes(plan)

    def _lock(self, key: PositionKey) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    async def _once(self, key: PositionKey) -> bool:
        """Takes one step of a position's protections; returns whether there may be more to do at once."""
        instrument = self._reading.instrument(key)
        if instrument is None:
            return False
        market = await self._reading.market(key.broker, instrument.instrument_token)
        there = await self._reading.held_there(key)
        async with self._context.store.transaction() as transaction:
            records = await transaction.protections.locked(key)
            if not records:
                self._sides.pop(key, None)
                return False
            self._sides[key] = frozenset(record.guard.side for record in records)
            around = await self._reading.around(transaction, key, records, *market, there)
            plan = None if around is None else next_plan(records, around)
            if plan is None:
                self._reading.rests(key, records, around)
                self._keep_going(around)
                return False
            await self._store(transaction, plan)
        self._tell(key, plan)
        if plan.order is not None:
            await self._driver.drive(plan.order.order_id, plan.order)
        self._begin_changes(plan)
        if plan.changes:
            await self._changes.wait([change.order_id for change in plan.changes], CHANGE_SECONDS)
        return plan.done

    def _keep_going(self, around: Surroundings | None) -> None:
        """Takes further what is waited for: who stored it may not know that it is stored, or may be gone."""
        if around is None:
            return
        for order_id, order in around.orders.items():
            intent = order.current
            if order.protective and intent is not None and intent.status in _NOT_ACCEPTED:
                self._driver.look_ups.follow(order_id)
            if any(not change.status.is_final for change in around.changes.get(order_id, ())):
                self._changes.keep(order_id)

    async def _store(self, transaction: TradingTransaction, plan: Plan) -> None:
        if plan.changes:
            await transaction.changes.add(plan.changes)
        await transaction.protections.save(plan.records)
        if plan.order is not None:
            await transaction.add([self._context.change(plan.order)])

    def _begin_changes(self, plan: Plan) -> None:
        for change in plan.changes:
            self._changes.follow(change.order_id)

    def _tell(self, key: PositionKey, plan: Plan) -> None:
        fields = named(key)
        for record in plan.records:
            whose = {**fields, "order_id": record.protection_id}
            if plan.alarm and record is plan.record:
                _log.error("protection.incident", alarm=True, reason=plan.alarm, **whose)
            if record.state is ProtectionState.ENDED:
                _log.info("protection.ended", reason=record.ended, **whose)
            elif plan.order is not None:
                _log.info(
                    "protection.order_placed",
                    reason=record.guard.leaving or "",
                    order_type=plan.order.terms.order_type.name,
                    quantity=plan.order.quantity,
                    **whose,
                )


def _by_key(key: PositionKey) -> tuple[str, str, str, str, int]:
    return key.broker, key.account, key.strategy_id, key.instrument_id, int(key.product)
