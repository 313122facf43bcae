"""What must hold of changes and protections, seen from outside: rows at every commit, the exchange's fills, and the end.

Where the exchange doesn't keep its word (an order shown later than it promised, a trade told after the order's end) nothing is
said of positions that cross zero or stand without their stop: no answer of it could have told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tests.simulation.exchange import CANCEL, MODIFY, ExchangeOrder
from tests.simulation.loop import Process
from tests.simulation.services import TRADING, Mesh
from tests.simulation.world import World

from alphapanda.domain.order import OrderStatus, PositionEffect
from alphapanda.domain.signal import PositionKey
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import MOST_CANCEL_CALLS, ChangeKind, ChangeRequest, ChangeStatus
from alphapanda.trading.core.protection_record import ProtectionState

NAKED_SECONDS = 20.0
"""Beyond the time in which an order without an answer is looked up: so long units may be held without their stop once nothing
goes wrong any more; some steps, and the pauses after exits that came to nothing."""
_ALL = 10**9
"""Units that an exit which isn't the protection's own is on its way for: it took the stop's place, and what it leaves gets one later."""
_NAMES = {ChangeKind.CANCEL: CANCEL, ChangeKind.MODIFY: MODIFY}


class ChangeOracle:
    """Watches changes and protections.

    Args:
        world: the world.
        mesh: the processes, their stores and the exchange.
    """

    def __init__(self, world: World, mesh: Mesh) -> None:
        self._world = world
        self._mesh = mesh
        self._called: dict[str, int] = {}
        self._most: defaultdict[str, int] = defaultdict(int)
        self._order_of_tag: dict[str, str] = {}
        self._positions: defaultdict[PositionKey, int] = defaultdict(int)
        self._naked: dict[PositionKey, float] = {}
        mesh.exchange.on_fill = self._filled

    # -- at every commit ----------------------------------------------------------------------------------------------

    def committed(
        self, process: Process, calls: Sequence[tuple[str, tuple[Any, ...]]], *, halted: bool
    ) -> None:
        """Told of a commit of trading."""
        for name, args in calls:
            if name == "changes.save":
                for change in args[0]:
                    self._watch(change, process, halted=halted)

    def saw(self, order: Order) -> None:
        """Told of an order as it was committed."""
        self._most[order.order_id] = max(self._most[order.order_id], order.quantity)
        names = self._world.names
        if order.protective and order.order_id not in names:
            kind = "stop" if order.terms.trigger_price else "exit"
            names[order.order_id] = f"{kind}-{len(names)} of {self._world.named(order.causation_id)}"
        for intent in order.intents:
            self._order_of_tag[intent.tag] = order.order_id
            if order.protective:
                names[intent.tag] = f"tag of {names[order.order_id]}"

    def _watch(self, change: ChangeRequest, process: Process, *, halted: bool) -> None:
        stored = self._mesh.trading_store._tables.changes[change.change_id].change
        if stored.status is ChangeStatus.DONE and stored.kind is ChangeKind.CANCEL:
            self._is_cancelled(stored.order_id)
        if stored.status is not ChangeStatus.CALLING or self._called.get(change.change_id) == stored.epoch:
            return
        self._called[change.change_id] = stored.epoch
        order = self._mesh.trading_store._tables.orders[change.order_id].order
        tag, kind = order.intents[stored.intent].tag, _NAMES[stored.kind]
        exchange = self._mesh.exchange
        exchange.changes_committed[kind, tag] += 1
        exchange.committed_at[f"{kind} {tag}"] = self._world.loop.time()
        self._world.tell(f"CALLING {kind} {self._world.named(tag)} committed", process=process)
        most = 1 if stored.kind is ChangeKind.MODIFY else MOST_CANCEL_CALLS
        if stored.calls > most:
            self._no("a change is called no more often than it may be", f"{kind} {self._world.named(tag)}")
        if halted and stored.kind is ChangeKind.MODIFY:
            self._no("nothing is modified after a HALTED answer", self._world.named(tag))

    def _is_cancelled(self, order_id: str) -> None:
        """A cancellation has ended as done: nothing of its order works any more."""
        order = self._mesh.trading_store._tables.orders[order_id].order
        tags = {intent.tag for intent in order.intents if not intent.is_absent}
        works = any(taken.left and taken.placement.tag in tags for taken in self._mesh.exchange.orders)
        if works or order.status is not OrderStatus.CANCELLED:
            self._no("a cancellation that is done has ended its order", self._world.named(order_id))

    # -- at every fill ------------------------------------------------------------------------------------------------

    @property
    def _keeps_its_word(self) -> bool:
        return self._mesh.exchange.truthful and not self._world.counts.get("overdue")

    def _filled(self, taken: ExchangeOrder, quantity: int) -> None:
        """An exit never takes more than is held: of two exits that stand by, one alone fills."""
        order = self._order(taken.placement.tag)
        if order is None:
            return
        before = self._positions[order.key]
        after = self._positions[order.key] = before + order.side.sign * quantity
        is_exit = order.effect is PositionEffect.REDUCES
        if is_exit and self._keeps_its_word and (after * before < 0 or not before):
            name = self._world.named(taken.placement.tag)
            self._no(
                "an exit never crosses zero", f"{name} of {order.key.instrument_id}: {before} to {after}"
            )

    def _order(self, tag: str) -> Order | None:
        order_id = self._order_of_tag.get(tag, "")
        stored = self._mesh.trading_store._tables.orders.get(order_id)
        return None if stored is None else stored.order

    # -- in peace -----------------------------------------------------------------------------------------------------

    def look(self, *, halted: bool) -> bool:
        """A second of peace: units held under a protection have their stop at the exchange, or an exit on its way.

        Returns:
            Whether some have not, and are still waited for.
        """
        if not self._keeps_its_word or halted:
            self._naked.clear()
            return False
        naked = set(self._without_cover())
        now = self._world.loop.time()
        self._naked = {key: self._naked.get(key, now) for key in naked}
        patience = (
            NAKED_SECONDS + TRADING.send_window_seconds + TRADING.call_timeout_seconds + self._mesh.visibility
        )
        for key in sorted(naked, key=str):
            if now - self._naked[key] > patience:
                self._no(
                    "a protected position has its stop, or an exit", f"{key.instrument_id}, {patience} s"
                )
                return False
        return bool(naked)

    def _without_cover(self) -> list[PositionKey]:
        working: defaultdict[tuple[PositionKey, int], int] = defaultdict(int)
        for taken in self._mesh.exchange.orders:
            order = self._order(taken.placement.tag) if taken.left else None
            if order is not None:
                working[order.key, order.side.sign] += taken.left if order.protective else _ALL
        found = []
        for kept in self._mesh.trading_store._tables.protections.values():
            record = kept.stored.record
            held = self._positions[record.key] * record.guard.side.sign
            if record.state is not ProtectionState.ACTIVE or record.guard.stop_loss is None or held <= 0:
                continue
            if working[record.key, -record.guard.side.sign] < held:
                found.append(record.key)
        return found

    # -- at the end ---------------------------------------------------------------------------------------------------

    def unresolved(self) -> list[str]:
        """Changes that have not ended."""
        stored = self._mesh.trading_store._tables.changes.values()
        return [
            f"{one.change.kind.name} {self._world.named(one.change.order_id)} {one.change.status.name}"
            for one in stored
            if not one.change.status.is_final
        ]

    def prove(self, orders: Mapping[str, Order]) -> None:
        """Everything has come to rest: orders and changes are as the exchange has them."""
        for unresolved in self.unresolved():
            self._no("every change ends", unresolved)
        at_exchange = {taken.placement.tag: taken for taken in self._mesh.exchange.orders}
        for order in orders.values():
            name = self._world.named(order.order_id)
            there = [
                at_exchange[one.tag] for one in order.intents if one.tag in at_exchange and not one.is_absent
            ]
            filled = sum(taken.filled for taken in there)
            if filled > self._most[order.order_id]:
                self._no("never more fills than was ever asked for", f"{name}: {filled}")
            self._as_there(order, at_exchange)

    def _as_there(self, order: Order, at_exchange: Mapping[str, ExchangeOrder]) -> None:
        """Quantity and terms of what the exchange showed us are the exchange's own."""
        shown = [one for one in order.intents if one.tag in at_exchange and one.broker_order_id]
        for intent in shown:
            there = at_exchange[intent.tag].placement
            if intent.status not in (OrderStatus.FILLED, OrderStatus.CANCELLED):
                continue
            name = self._world.named(intent.tag)
            if intent.quantity != there.quantity:
                self._no(
                    "an order's quantity is the exchange's",
                    f"{name}: {intent.quantity}, not {there.quantity}",
                )
            if intent is shown[-1] and order.terms != there.terms:
                self._no("an order's terms are the exchange's", f"{name}: {order.terms}, not {there.terms}")

    def _no(self, invariant: str, detail: str) -> None:
        self._world.violated(invariant, detail)
