"""Single steps of a story from the messages that tell of them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.message import Message

from alphapanda.commands.order_tables import by_line
from alphapanda.commands.story.steps import BAD, GOOD, QUIET, Step
from alphapanda.commands.wording import amount, count, money, rupees, word
from panda.events.v1.events_pb2 import Event
from panda.events.v1.orders_pb2 import OrderState
from panda.events.v1.portfolio_pb2 import PortfolioSnapshot
from panda.ops.v1.ops_pb2 import DEAD_LETTER_STATE_WAITING, AuditEntry, DeadLetter, LogRecord
from panda.portfolio.v1.portfolio_pb2 import LedgerEntry
from panda.risk.v1.risk_pb2 import Verdict
from panda.trading.v1.trading_pb2 import OrderIntent


def command_step(entry: AuditEntry) -> Step:
    """A command: who gave it, from where, and what came of it."""
    outcome = entry.outcome or "its outcome is not known"
    why = f", {entry.reason}: {entry.message}" if entry.reason or entry.message else ""
    text = f"{entry.method.rpartition('/')[2]} by {entry.caller or 'nobody named'} from {entry.peer}: {outcome}{why}"
    style = "" if entry.outcome == "OK" else BAD
    ids = {"command_id": entry.correlation_id, "request_id": entry.request_id}
    return Step("command", text, wall_moment(entry, "started_at"), style, ids)


def is_letter(record: LogRecord, letter: DeadLetter) -> bool:
    """Whether a record of a dead-letter topic is this letter, or one about it."""
    headers = {header.name: header.value.decode(errors="replace") for header in record.headers}
    own = [headers.get(name) for name in ("dlq_group", "dlq_topic", "dlq_partition", "dlq_offset")]
    return record.HasField("event") and own == letter.letter_id.split("/")


def letter_step(letter: DeadLetter) -> Step:
    """A dead letter, and whether it still waits."""
    waits = letter.state == DEAD_LETTER_STATE_WAITING
    text = f"{letter.reason} in {letter.group}, {word(letter, 'state')}: {letter.detail}"
    at = wall_moment(letter, "dead_at")
    return Step("dead letter", text, at, BAD if waits else QUIET, {"letter_id": letter.letter_id})


def call_step(intent: OrderIntent) -> Step:
    """An intent: one call of the broker under one tag."""
    text = f"{word(intent, 'status') or 'planned'}: {count(intent.quantity)} under tag {intent.tag}"
    if intent.broker_order_id:
        text += f", broker's order {intent.broker_order_id}"
    return Step("call", text, style=QUIET, ids={"intent_id": intent.intent_id})


def change_step(event: Event) -> Step:
    """A change of an order other than a fill."""
    payload = event.WhichOneof("payload") or ""
    body = getattr(event, payload)
    text = f"{payload.removeprefix('order_')}, revision {body.order.order_revision}"
    if payload == "order_failed":
        text += f", {word(body, 'reason')}"
    if message := getattr(body, "message", ""):
        text += f": {message}"
    return Step("event", text, made_at(event), ids={"event_id": event.event_id})


def ledger_step(name: str, lines: list[LedgerEntry]) -> Step:
    """A transaction of the ledger, by its id and entries."""
    lines.sort(key=lambda one: one.sequence)
    booked = ", ".join(f"{word(one, 'ledger_account')} {rupees(amount(one, 'amount'))}" for one in lines)
    charges = next((by_line(one.charge_lines) for one in lines if one.charge_lines), "")
    text = (
        f"entries {lines[0].sequence} to {lines[-1].sequence}: {booked}{f'  ({charges})' if charges else ''}"
    )
    return Step("ledger", text, wall_moment(lines[0], "booked_at"), GOOD, {"transaction_id": name})


def equity_text(snapshot: PortfolioSnapshot) -> str:
    """A snapshot of an account in one line."""
    equity = money(amount(snapshot, "equity"))
    return f"equity {equity}, cash {money(amount(snapshot, 'cash'))}, revision {snapshot.revision}"


def wanted_text(event: Event) -> str:
    """What a signal wants, and why."""
    signal = event.trading_signal
    if signal.WhichOneof("wanted") == "explicit_order":
        wanted = f"{word(signal.explicit_order, 'side')} {count(signal.explicit_order.quantity)}"
    elif signal.size:
        wanted = f"hold {signal.size} {'short' if signal.target_position < 0 else 'long'}"
    else:
        target = signal.target_position
        wanted = f"hold {count(target, signed=True)}" if target else "hold nothing"
    price = amount(signal, "reference_price")
    at = f" at {rupees(price)}" if price is not None else ""
    why = f": {signal.reason}" if signal.reason else ""
    return f"{signal.strategy_id} for {event.broker}: {wanted} of {signal.instrument_id}{at}{why}"


def verdict_of(event: Event, signal: str) -> Verdict:
    """A verdict as its event tells it, for one whose row was purged."""
    if event.HasField("signal_validated"):
        m = event.signal_validated
        return Verdict(signal_id=signal, approved=True, side=m.side, quantity=m.quantity, rules=m.rules)
    refused = event.signal_rejected
    return Verdict(signal_id=signal, reason=refused.reason, message=refused.message, rules=refused.rules)


def state_of(event: Event) -> OrderState:
    """The order's state that an order event carries."""
    state: OrderState = getattr(event, event.WhichOneof("payload") or "").order
    return state


def made_at(event: Event | None) -> datetime | None:
    """Wall time at which an event was made; None where there is no event."""
    return None if event is None else wall_moment(event, "occurred_at")


def wall_moment(owner: Message, name: str) -> datetime | None:
    """A field's wall time, UTC; None where it is absent."""
    if not owner.HasField(name):
        return None
    moment: datetime = getattr(owner, name).ToDatetime(UTC)
    return moment
