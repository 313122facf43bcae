"""What services know of one chain of events, as their answers have it, and the ids by which it is found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from alphapanda.domain.errors import InvalidInput
from panda.events.v1.events_pb2 import Event
from panda.events.v1.portfolio_pb2 import PortfolioSnapshot
from panda.ops.v1.ops_pb2 import AuditEntry, DeadLetter, LogRecord
from panda.portfolio.v1.portfolio_pb2 import Fill, LedgerEntry
from panda.risk.v1.risk_pb2 import Verdict
from panda.trading.v1.trading_pb2 import Order

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
MANUAL: Final = "manual"
"""The strategy_id of a person's order."""
ORDER_EVENTS: Final = ("order_submitted", "order_filled", "order_failed", "order_cancelled")
VERDICT_EVENTS: Final = ("signal_validated", "signal_rejected")


def parsed_id(text: str) -> str:
    """Returns the UUID that a person means: a UUID, 32 hexadecimal digits, or a traceparent, whose trace id it takes.

    Raises:
        InvalidInput: it is none of these.
    """
    given = text.strip().lower()
    traceparent = _TRACEPARENT.fullmatch(given)
    try:
        return str(UUID(traceparent[1] if traceparent else given))
    except ValueError:
        raise InvalidInput(
            "ID", text, "a UUID or 32 hexadecimal digits: the id of an order, a signal, a trace or an event"
        ) from None


@dataclass(slots=True)
class Facts:
    """What is known of a chain of events.

    Attributes:
        commands: commands of persons and programs that belong to it, oldest first.
        orders: its orders, by order_id.
        verdicts: risk's verdicts, by signal_id.
        fills: fills that portfolio has booked, by fill_id.
        entries: ledger entries, in the order of booking.
        snapshots: the first point of the equity curve that shows a fill, by fill_id.
        records: records of the log, in the order of appending; also those of dead letters.
        letters: dead letters, by letter_id.
        examined: records of the log that were examined.
        missing: why something may be missing, one sentence each.
    """

    commands: list[AuditEntry] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    fills: dict[str, Fill] = field(default_factory=dict)
    entries: list[LedgerEntry] = field(default_factory=list)
    snapshots: dict[str, PortfolioSnapshot] = field(default_factory=dict)
    records: list[LogRecord] = field(default_factory=list)
    letters: dict[str, DeadLetter] = field(default_factory=dict)
    examined: int = 0
    missing: list[str] = field(default_factory=list)

    def add_orders(self, orders: Iterable[Order]) -> None:
        """Adds orders."""
        self.orders.update((one.state.order_id, one) for one in orders)

    def add_verdicts(self, verdicts: Iterable[Verdict]) -> None:
        """Adds verdicts."""
        self.verdicts.update((one.signal_id, one) for one in verdicts)

    def add_records(self, records: Iterable[LogRecord]) -> None:
        """Adds records that aren't there yet, and keeps the order of appending."""
        known = {_place(one) for one in self.records}
        self.records += (one for one in records if _place(one) not in known)
        self.records.sort(key=lambda one: (one.appended_at.ToNanoseconds(), _place(one)))

    def events(self) -> dict[str, Event]:
        """The events on their own topics, by event_id: not what is dead-lettered or a command about a dead letter."""
        return {one.event.event_id: one.event for one in self.records if is_event(one)}

    def correlation_of(self, asked: str) -> str:
        """Returns the correlation id of the chain that an id belongs to; empty where nothing names it."""
        order = next((one for one in self.orders.values() if asked in _ids_of_order(one)), None)
        if order is not None:
            return order.correlation_id
        verdict = next(
            (one for one in self.verdicts.values() if asked in (one.signal_id, one.correlation_id)), None
        )
        if verdict is not None and verdict.correlation_id:
            return verdict.correlation_id
        named = [one.event for one in self.records if one.HasField("event")]
        if self.commands:
            return asked
        itself = next((one for one in named if one.event_id == asked), None)
        return (itself or next(iter(named), Event())).correlation_id


def is_event(record: LogRecord) -> bool:
    """Whether a record is an event on its own topic."""
    own = not any(header.name.startswith("dlq_") for header in record.headers)
    return own and record.HasField("event")


def signal_of(event: Event) -> str:
    """Returns the id of the signal that an event is about; empty where it is about none."""
    payload = event.WhichOneof("payload") or ""
    if payload == "trading_signal":
        return event.event_id
    if payload in VERDICT_EVENTS:
        return str(getattr(event, payload).signal_id)
    if payload in ORDER_EVENTS:
        return str(getattr(event, payload).order.signal_id)
    return ""


def _ids_of_order(order: Order) -> tuple[str, ...]:
    return (
        order.state.order_id,
        order.state.signal_id,
        order.correlation_id,
        *(one.intent_id for one in order.intents),
    )


def _place(record: LogRecord) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset
