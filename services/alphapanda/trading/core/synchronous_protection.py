"""The protections of positions in a replay: the plans of the running service, carried out in one call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Final, Protocol

from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.market import MarketView
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.domain.session import Session
from alphapanda.domain.signal import PositionKey
from alphapanda.paper_exchange.core.held_order import NotChanged
from alphapanda.trading.core.checks import NotSent
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeRequest
from alphapanda.trading.core.protection_facts import Surroundings, ended_early, note_triggered
from alphapanda.trading.core.protection_plan import Plan, next_plan, passing, refused_beside
from alphapanda.trading.core.protection_record import ProtectionRecord, ProtectionState

MOST_STEPS: Final = 8
"""Steps of a protection in one go, as in the service."""


class Executes(Protocol):
    """What sends and changes orders at the paper exchange in memory."""

    def submit(self, order: Order, instrument: Instrument, market: MarketView) -> list[OrderUpdate]:
        """Checks and sends an order; returns its updates."""

    def change(self, order: Order, change: ChangeRequest, market: MarketView) -> list[OrderUpdate]:
        """Modifies or cancels an order; returns its updates. Raises NotChanged."""

    def position(self, key: PositionKey) -> int:
        """Units held under a key."""


class SynchronousProtections:
    """Steps protections, and lets other exits pass once they may.

    Args:
        executes: sends and changes orders.
        calendar: sessions; None: it isn't known when one is open.

    Attributes:
        records: the protections by position, oldest first.
    """

    def __init__(self, executes: Executes, calendar: TradingCalendar | None) -> None:
        self._executes = executes
        self._calendar = calendar
        self.records: dict[PositionKey, list[ProtectionRecord]] = {}
        self._orders: dict[PositionKey, dict[str, Order]] = {}
        self._changes: defaultdict[str, list[ChangeRequest]] = defaultdict(list)
        self._triggered: dict[str, datetime] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.records)

    @property
    def keys(self) -> list[PositionKey]:
        """The protected positions, in the order in which they are stepped."""
        return sorted(
            self.records, key=lambda key: (key.broker, key.account, key.strategy_id, key.instrument_id)
        )

    def concerns(self, key: PositionKey) -> bool:
        """Whether a position has a protection."""
        return key in self.records

    def arm(self, entry: Order) -> None:
        """Begins the protection that an entry asks for, before it is sent."""
        if entry.protection is not None:
            self.records.setdefault(entry.key, []).append(ProtectionRecord.armed(entry, entry.protection))

    def note(self, order: Order) -> None:
        """Takes an order of a protected position, before it is sent."""
        self._orders.setdefault(order.key, {})[order.order_id] = order

    def tokens(self) -> list[int]:
        """The tokens of the protected positions."""
        return [records[0].instrument_token for records in self.records.values()]

    def before(
        self, order: Order, instrument: Instrument, market: MarketView
    ) -> Iterator[list[OrderUpdate] | Order | NotSent]:
        """Lets another exit of a protected position pass: the updates of what has to end first, then what becomes of it."""
        records = list(self.records.get(order.key, ()))
        if (refused := refused_beside(order, records)) is not None:
            yield refused
            return
        yield from self.advance(order.key, instrument, market)
        verdict = passing(order, records, self._around(order.key, instrument, market))
        if verdict is None:
            raise LookupError(f"a protection of {order.key} isn't over though nothing can be missing")
        yield verdict

    def advance(
        self, key: PositionKey, instrument: Instrument, market: MarketView
    ) -> Iterator[list[OrderUpdate]]:
        """Takes a position's protections as far as they go now; yields the updates of each order that this changes."""
        for _ in range(MOST_STEPS):
            records = self.records.get(key)
            if not records:
                break
            plan = next_plan(records, self._around(key, instrument, market))
            if plan is None:
                break
            yield from self._carry_out(plan, instrument, market)
            if not plan.done:
                break
        self._forget(key)

    def _carry_out(
        self, plan: Plan, instrument: Instrument, market: MarketView
    ) -> Iterator[list[OrderUpdate]]:
        if plan.order is not None:
            self.note(plan.order)
            if updates := self._executes.submit(plan.order, instrument, market):
                yield updates
        for change in plan.changes:
            self._changes[change.order_id].append(change)
            order = next(held[change.order_id] for held in self._orders.values() if change.order_id in held)
            yield from self._changed(order, change, market)

    def _changed(
        self, order: Order, change: ChangeRequest, market: MarketView
    ) -> Iterator[list[OrderUpdate]]:
        change.calling(order.intents[-1], 1)
        try:
            updates = self._executes.change(order, change, market)
        except NotChanged as refused:
            change.refused(str(refused))
            return
        if not change.settle(order):
            change.refused("the order is as it was")
        if updates:
            yield updates

    def _forget(self, key: PositionKey) -> None:
        """Forgets protections that have ended, and the ended orders of a position that has none left."""
        records = [one for one in self.records.get(key, ()) if one.state is not ProtectionState.ENDED]
        orders = self._orders.get(key, {})
        named = {order_id for one in records for order_id in (*one.own_orders, *one.entries)}
        for order_id in [
            name for name, order in orders.items() if name not in named and order.status.is_final
        ]:
            del orders[order_id]
            self._changes.pop(order_id, None)
            self._triggered.pop(order_id, None)
        if records:
            self.records[key] = records
        else:
            self.records.pop(key, None)
            if not orders:
                self._orders.pop(key, None)

    def _around(self, key: PositionKey, instrument: Instrument, market: MarketView) -> Surroundings:
        orders = self._orders.get(key, {})
        at = market.market_time
        if at is None:
            raise LookupError("a replay without a market time")
        session, closed = self._session(instrument, at)
        note_triggered(self._triggered, self.records.get(key, ()), orders, market)
        return Surroundings(
            position=self._executes.position(key),
            orders=orders,
            changes=self._changes,
            market=market,
            wall_time=at,
            instrument=instrument,
            session=session,
            closed=closed,
            blocked="",
            ended_early=ended_early(orders.values(), lambda ended: self._session(instrument, ended)[1], at),
            triggered_at=self._triggered,
        )

    def _session(self, instrument: Instrument, at: datetime) -> tuple[Session | None, bool]:
        if self._calendar is None:
            return None, False
        try:
            session = self._calendar.session_at(at, instrument.session_segment)
        except CalendarNotCovered:
            return None, False
        return session, session is None
