"""What must hold, seen from outside: the log's records, the exchange's own journal, and the books.

Two things are watched at every commit (an order that two hold open under one key, a sending after a HALTED answer); the
rest is proved once everything has come to rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tests.simulation.database import _at_once
from tests.simulation.loop import Process
from tests.simulation.oracle_changes import ChangeOracle
from tests.simulation.services import ACCOUNT, BROKER, STARTING_CASH, TOPICS, Mesh
from tests.simulation.world import World

from alphapanda.contract.order_wire import order_update_from
from alphapanda.domain.order import OrderStatus, Side
from alphapanda.domain.order_events import Filled, OrderUpdate
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.portfolio.store.port import AccountName
from alphapanda.trading.core.late_arrival import adopted_id
from alphapanda.trading.core.order import Order
from panda.events.v1.events_pb2 import Event

ORDER_PAYLOADS = ("order_submitted", "order_filled", "order_failed", "order_cancelled")


class Oracle:
    """Watches a world and judges it.

    Args:
        world: the world.
    """

    def __init__(self, world: World) -> None:
        self.mesh: Mesh | None = None
        self.changes: ChangeOracle | None = None
        self.halted = False
        self._world = world
        self._statuses: dict[str, OrderStatus] = {}
        self._open: defaultdict[PositionKey, set[str]] = defaultdict(set)

    # -- at every commit ----------------------------------------------------------------------------------------------

    def committed(self, schema: str, process: Process, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """See database.OnCommit."""
        if schema != "trading" or self.mesh is None or self.changes is None:
            return
        orders = {
            change.order.order_id
            for name, args in calls
            if name in {"add", "add_if_unchanged", "save"}
            for change in args[0]
        }
        for order_id in sorted(orders & self.mesh.trading_store._tables.orders.keys()):
            order = self.mesh.trading_store._tables.orders[order_id].order
            self.changes.saw(order)
            self._watch_sending(order, process)
            self._watch_key(order)
        self.changes.committed(process, calls, halted=self.halted)

    def _watch_sending(self, order: Order, process: Process) -> None:
        for intent in order.intents:
            before = self._statuses.get(intent.intent_id, OrderStatus.PENDING_SUBMIT)
            if intent.status is OrderStatus.SUBMITTING and before is not OrderStatus.SUBMITTING:
                name = self._world.named(intent.tag)
                self._world.tell(f"SUBMITTING {name} committed", process=process)
                if self.mesh is not None:
                    self.mesh.exchange.committed_at[intent.tag] = self._world.loop.time()
                if before is not OrderStatus.PENDING_SUBMIT:
                    self._world.violated(
                        "an intent is sent once", f"{name} was {before.name} and is SUBMITTING again"
                    )
                if self.halted:
                    self._world.violated("nothing is sent after a HALTED answer", name)
            self._statuses[intent.intent_id] = intent.status

    def _watch_key(self, order: Order) -> None:
        if order.protective:
            return
        under = self._open[order.key]
        (under.discard if order.status.is_final else under.add)(order.order_id)
        if len(under) > 1:
            names = ", ".join(sorted(map(self._world.named, under)))
            self._world.violated("one open order under a position", f"{order.key.instrument_id}: {names}")

    # -- at the end ---------------------------------------------------------------------------------------------------

    def prove(self, signals: Sequence[Signal]) -> None:
        """Everything has come to rest: does it add up?"""
        if self.mesh is None:
            raise AssertionError("there is nothing to prove yet")
        verdicts = self._verdicts(signals)
        events = self._order_events()
        orders = {
            stored.order.order_id: stored.order for stored in self.mesh.trading_store._tables.orders.values()
        }
        self._orders_follow_verdicts(verdicts, orders)
        self._nobody_overtakes()
        self._one_end_each(orders, events)
        self._calls(orders)
        if self.changes is not None:
            self.changes.prove(orders)
        self._books(orders, events)
        self._nothing_aside()

    def _records(self, *payloads: str) -> list[Event]:
        assert self.mesh is not None
        topics = TOPICS.topics(*payloads)
        return [
            Event.FromString(record.value)
            for at, records in self.mesh.log.records.items()
            if at.topic in topics
            for record in records
        ]

    def _verdicts(self, signals: Sequence[Signal]) -> Mapping[str, Event]:
        """Each signal's one verdict, validated ones by signal id."""
        found: defaultdict[str, dict[str, Event]] = defaultdict(dict)
        for event in self._records("signal_validated", "signal_rejected"):
            payload = getattr(event, event.WhichOneof("payload") or "")
            found[payload.signal_id][event.SerializeToString(deterministic=True).hex()] = event
        for signal in signals:
            given = found.pop(signal.signal_id, {})
            if len(given) != 1:
                self._no(
                    "one raw signal, one verdict",
                    f"{self._world.named(signal.signal_id)} has {len(given)}",
                )
        for unasked in found:
            self._no("a verdict answers a signal", self._world.named(unasked))
        return {event.signal_validated.signal_id: event for event in self._records("signal_validated")}

    def _order_events(self) -> Mapping[str, list[tuple[Event, OrderUpdate]]]:
        """The events of each order, each once, in the order in which its topic has them."""
        found: defaultdict[str, list[tuple[Event, OrderUpdate]]] = defaultdict(list)
        seen: dict[str, bytes] = {}
        for payload in ORDER_PAYLOADS:
            last: dict[str, int] = {}
            for event in self._records(payload):
                body = event.SerializeToString(deterministic=True)
                if seen.setdefault(event.event_id, body) != body:
                    self._no("an event's id names one event", event.event_id)
                update = order_update_from(event)
                order = update.order
                name = self._world.named(order.order_id)
                if any(event.event_id == other.event_id for other, _ in found[order.order_id]):
                    continue
                if order.revision <= last.get(order.order_id, 0):
                    self._no(
                        "an order's events are published in order",
                        f"{name}: revision {order.revision} after {last[order.order_id]} on {payload}",
                    )
                last[order.order_id] = order.revision
                found[order.order_id].append((event, update))
        return found

    def _orders_follow_verdicts(self, verdicts: Mapping[str, Event], orders: Mapping[str, Order]) -> None:
        by_signal = {order.signal_id: order for order in orders.values()}
        for signal_id in verdicts:
            if signal_id not in by_signal:
                self._no("a validated signal becomes an order", self._world.named(signal_id))
        adopted = {adopted_id(intent) for order in orders.values() for intent in order.intents}
        for signal_id, order in by_signal.items():
            if signal_id not in verdicts and order.order_id not in adopted and not order.protective:
                self._no("an order follows from a verdict", self._world.named(order.order_id))

    def _nobody_overtakes(self) -> None:
        """By key: verdicts in the order of their signals, trading's rows in the order of their verdicts."""
        assert self.mesh is not None
        signals = self._by_key("trading_signal", lambda event: event.event_id)
        verdicts = self._by_key("signal_validated", lambda event: event.signal_validated.signal_id)
        stored = sorted(self.mesh.trading_store._tables.orders.values(), key=lambda one: one.sequence)
        rows = [one.order.signal_id for one in stored]
        for key, let_through in verdicts.items():
            came = [signal_id for signal_id in signals.get(key, ()) if signal_id in set(let_through)]
            self._same(f"verdicts of {key!r}", self._named(let_through), "its signals", self._named(came))
            known = [signal_id for signal_id in rows if signal_id in set(let_through)]
            kept = [signal_id for signal_id in let_through if signal_id in set(known)]
            self._same(f"orders of {key!r}", self._named(known), "its verdicts", self._named(kept))

    def _by_key(self, payload: str, name: Callable[[Event], str]) -> Mapping[bytes, list[str]]:
        """By key, in the order in which they stand on the log first."""
        assert self.mesh is not None
        topics = TOPICS.topics(payload)
        found: defaultdict[bytes, dict[str, None]] = defaultdict(dict)
        for at, records in self.mesh.log.records.items():
            if at.topic in topics:
                for record in records:
                    found[record.key][name(Event.FromString(record.value))] = None
        return {key: list(names) for key, names in found.items()}

    def _named(self, signal_ids: Sequence[str]) -> list[str]:
        return [self._world.named(signal_id) for signal_id in signal_ids]

    def _one_end_each(
        self, orders: Mapping[str, Order], events: Mapping[str, list[tuple[Event, OrderUpdate]]]
    ) -> None:
        for order_id, order in orders.items():
            told = sorted(update.order.revision for _, update in events.get(order_id, ()))
            finals = [update for _, update in events.get(order_id, ()) if update.order.status.is_final]
            finals.sort(key=lambda update: update.order.revision)
            ends = [update for at, update in enumerate(finals) if not (at and isinstance(update, Filled))]
            name = self._world.named(order_id)
            if told != list(range(1, order.revision + 1)):
                self._no("every change of an order is published", f"{name}: {told} of {order.revision}")
            if not order.status.is_final:
                self._no("every order ends", f"{name} is {order.status.name}")
            if len(ends) != 1:
                self._no("an order has one terminal event", f"{name} has {len(ends)}")

    def _calls(self, orders: Mapping[str, Order]) -> None:
        assert self.mesh is not None
        tags = {intent.tag: intent for order in orders.values() for intent in order.intents}
        calls: defaultdict[str, int] = defaultdict(int)
        for _, tag in self.mesh.exchange.calls:
            calls[tag] += 1
        for tag, count in calls.items():
            name = self._world.named(tag)
            if count > 1:
                self._no("an intent is sent once", f"{name} was sent {count} times")
            if tag not in tags:
                self._no("a broker call has its intent", name)
            elif tags[tag].status is OrderStatus.NOT_SENT:
                self._no("an intent that was never called ends as NOT_SENT", f"{name} was called")
        for taken in self.mesh.exchange.orders:
            if taken.placement.tag in tags:
                intent = tags[taken.placement.tag]
                name = self._world.named(taken.placement.tag)
                late = orders.get(adopted_id(intent))
                if intent.filled + (late.filled if late else 0) != taken.filled:
                    self._no(
                        "an order stands as it does at the broker",
                        f"{name}: {intent.status.name}, {intent.filled} filled; the broker says"
                        f" {taken.status.value}, {taken.filled} filled",
                    )

    def late_arrivals_to_come(self) -> int:
        """Broker orders with fills that trading doesn't know of yet."""
        assert self.mesh is not None
        known: set[str] = set()
        for stored in self.mesh.trading_store._tables.orders.values():
            known |= stored.order.fill_ids
        return sum(
            any(fill.fill_id not in known for fill in taken.fills) for taken in self.mesh.exchange.orders
        )

    def _books(
        self, orders: Mapping[str, Order], events: Mapping[str, list[tuple[Event, OrderUpdate]]]
    ) -> None:
        """Fills at the exchange = fills told = ledger = cash = positions, wherever they are kept."""
        assert self.mesh is not None
        cash, held = STARTING_CASH, defaultdict[PositionKey, int](int)
        by_tag = {intent.tag: order for order in orders.values() for intent in order.intents}
        at_exchange: dict[str, tuple[Side, int, Decimal, Decimal]] = {}
        for taken in self.mesh.exchange.orders:
            side = taken.placement.side
            for fill in taken.fills:
                at_exchange[fill.fill_id] = (side, fill.quantity, fill.price, fill.commission)
                cash -= side.sign * fill.price * fill.quantity + fill.commission
                if taken.placement.tag in by_tag:
                    held[by_tag[taken.placement.tag].key] += side.sign * fill.quantity
        told = {
            update.fill.fill_id: (
                update.order.side,
                update.fill.quantity,
                update.fill.price,
                update.fill.commission,
            )
            for order in events.values()
            for _, update in order
            if isinstance(update, Filled)
        }
        self._same("fills on the topic", told, "fills at the exchange", at_exchange)
        rows = self.mesh.portfolio_store._accounts[AccountName(BROKER, ACCOUNT)]
        self._same("cash", rows.cash, "cash by the exchange's fills", cash)
        booked = [fill.fill_id for fill in rows.fills]
        self._same("fills booked", sorted(booked), "fills at the exchange", sorted(at_exchange))
        for found in _at_once(self.mesh.portfolio_store.disagreements(AccountName(BROKER, ACCOUNT))):
            self._no("the books follow from the ledger", found)
        for key in sorted(held, key=str):
            positions: dict[str, int] = {
                "portfolio": rows.positions[key].quantity if key in rows.positions else 0,
                "trading": self.mesh.trading_store._tables.positions[key],
                "risk": self.mesh.risk_store._tables.book.position(key).quantity,
            }
            for service, quantity in positions.items():
                self._same(
                    f"{service}'s position of {key.strategy_id} {key.instrument_id}",
                    quantity,
                    "fills",
                    held[key],
                )
        for key, state in self.mesh.risk_store._tables.book.positions.items():
            if state.open is not None or state.waiting is not None:
                self._no("risk's reservations end", f"{key.strategy_id} {key.instrument_id}")
        self._funds(cash)

    def _funds(self, cash: Decimal) -> None:
        """Risk's funds less the cost of what is held are the ledger's cash; at rest nothing is blocked but by what is held.

        Where an order's end comes before its fills, risk knows their average only: of a flip in two fills it takes another
        share for realised profit than the ledger does, and as much more or less for the cost of what is held.
        """
        assert self.mesh is not None
        book = self.mesh.risk_store._tables.book
        funds = book.funds.get((BROKER, ACCOUNT))
        if funds is None:  # nothing was decided
            return
        costs = sum((state.history.cost for state in book.positions.values()), Decimal())
        self._same("the cash by risk's funds", funds.balance - costs, "the ledger's", cash)
        self._same("blocked by orders", funds.blocked, "blocked at rest", Decimal())
        margins = sum((state.margin for state in book.positions.values()), Decimal())
        self._same("used margin", funds.margin, "the positions' margins", margins)

    def _nothing_aside(self) -> None:
        assert self.mesh is not None
        for at, records in self.mesh.log.records.items():
            if at.topic.endswith(".dlq") and records:
                self._no("no good record becomes a dead letter", f"{len(records)} on {at.topic}")
        for failed in self._world.tasks_nobody_asked():
            self._no("no task ends by a bug", failed)
        for unhandled in self._world.loop.unhandled:
            self._no("no task ends by a bug", unhandled)

    def _same(self, one: str, first: object, other: str, second: object) -> None:
        if first != second:
            self._no(f"{one} = {other}", f"{first} is not {second}")

    def _no(self, invariant: str, detail: str) -> None:
        self._world.violated(invariant, detail)
