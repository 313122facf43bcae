"""What a platform's evidence amounts to: orders, losses and duplicates counted, and the story of a signal that went wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, timedelta

from evidence import Evidence, check_books, check_chains, check_envelopes
from pulses import check_pulses

from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect
from panda.events.v1.events_pb2 import Event

STORIES = 3
# Between the last look at valid_until and the fill lie the send window and the call, of which each may take 1 s here.
SENDING = timedelta(seconds=2)
ORDER_EVENTS = ("order_submitted", "order_filled", "order_failed", "order_cancelled")


@dataclass
class Account:
    """What it amounts to.

    Attributes:
        orders: stored.
        fills: booked.
        absent: ended as FAILED(ABSENT).
        expired: ended as FAILED(EXPIRED).
        lost: signal ids: without a verdict, an order, a terminal event, or with a trade that isn't booked.
        duplicate: signal ids: with more than one order, terminal event, call of an intent, booking of a fill.
        stale: signal ids of entries executed after their time.
        late: fills told after their order's end.
        repeated: signals that stand on the log more than once, in the same words.
    """

    orders: int = 0
    fills: int = 0
    absent: int = 0
    expired: int = 0
    lost: list[str] = field(default_factory=list)
    duplicate: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    late: int = 0
    repeated: int = 0

    @property
    def wrong(self) -> list[str]:
        """All signals with which something went wrong."""
        return list(dict.fromkeys([*self.lost, *self.duplicate, *self.stale]))


def account_of(evidence: Evidence) -> Account:
    """Counts."""
    orders = evidence.rows("orders")
    signal_of = {str(row["order_id"]): str(row["signal_id"]) for row in orders}
    account = Account(
        orders=len(orders),
        fills=len(evidence.rows("fills")),
        absent=sum(row["failure"] == FailureReason.ABSENT for row in orders),
        expired=sum(row["failure"] == FailureReason.EXPIRED for row in orders),
    )
    verdicts = Counter(str(row["signal_id"]) for row in evidence.rows("verdicts"))
    account.lost += [
        event.event_id for event in evidence.of("trading_signal") if event.event_id not in verdicts
    ]
    finals: defaultdict[str, list[tuple[int, bool]]] = defaultdict(list)
    for event in evidence.of(*ORDER_EVENTS):
        state = getattr(event, event.WhichOneof("payload") or "").order
        if OrderStatus(state.status).is_final:
            is_fill = event.WhichOneof("payload") == "order_filled"
            finals[signal_of.get(state.order_id, state.order_id)].append((state.order_revision, is_fill))
    ended: Counter[str] = Counter()
    for signal_id, told_final in finals.items():
        # After the end only fills may come, each with the next revision: they are late, and no second end.
        late = sum(is_fill for _, is_fill in sorted(told_final)[1:])
        account.late += late
        ended[signal_id] = len(told_final) - late
    validated = {event.signal_validated.signal_id: event for event in evidence.of("signal_validated")}
    # One that came so late that risk had its reservation back: trading had promised that it never gets an order.
    buried = {str(row["signal_id"]) for row in evidence.rows("tombstones")}
    account.lost += [signal_id for signal_id in validated if not ended[signal_id] and signal_id not in buried]
    account.duplicate += [str(row["signal_id"]) for row in orders if str(row["signal_id"]) in buried]
    account.duplicate += [signal_id for signal_id, count in ended.items() if count > 1]

    raw = evidence.topic_map.topics("trading_signal")
    told = Counter(dict(record.headers)["ce_id"] for record in evidence.records if record.topic in raw)
    account.repeated = sum(count > 1 for count in told.values())

    tags = {row["tag"]: str(row["signal_id"]) for row in evidence.rows("intents")}
    calls = Counter(row["tag"] for row in evidence.rows("calls") if row["what"] == "place")
    account.duplicate += [tags.get(tag, tag) for tag, count in calls.items() if count > 1]
    account.duplicate += [tag for tag in calls if tag not in tags]
    booked = Counter(str(row["fill_id"]) for row in evidence.rows("fills"))
    for trade in evidence.rows("trades"):
        signal_id = tags.get(trade["tag"], trade["tag"])
        if booked[str(trade["fill_id"])] == 0:
            account.lost.append(signal_id)
        if booked[str(trade["fill_id"])] > 1:
            account.duplicate.append(signal_id)
    entries = {
        str(row["signal_id"])
        for row in orders
        if PositionEffect(row["effect"] or PositionEffect.OPENS).is_entry
    }
    for trade in evidence.rows("trades"):
        signal_id = tags.get(trade["tag"], trade["tag"])
        if signal_id in entries and signal_id in validated:
            until = validated[signal_id].signal_validated.valid_until
            if until.seconds and trade["traded_at"] > until.ToDatetime(UTC) + SENDING:
                account.stale.append(signal_id)
    return account


def prove(evidence: Evidence) -> Account:
    """Proves that nothing is lost or repeated and that the books agree to the paisa.

    Raises:
        AssertionError: with the stories of the first signals that went wrong.
    """
    account = account_of(evidence)
    try:
        assert not account.wrong
        check_books(evidence)
        check_envelopes(evidence)
        check_chains(evidence)
        check_pulses(evidence)
    except (AssertionError, KeyError, ValueError) as wrong:
        told = [
            f"{len(account.lost)} lost, {len(account.duplicate)} duplicate, {len(account.stale)} stale; {wrong!r}"
        ]
        told += [story(evidence, signal_id) for signal_id in account.wrong[:STORIES]]
        raise AssertionError("\n\n".join(told)) from wrong
    return account


def story(evidence: Evidence, signal_id: str) -> str:
    """Everything known of a signal, as a person reads it."""
    lines = [f"signal {signal_id}"]
    lines += [
        f"  verdict   {_row(row)}" for row in evidence.rows("verdicts") if str(row["signal_id"]) == signal_id
    ]
    orders = [row for row in evidence.rows("orders") if str(row["signal_id"]) == signal_id]
    order_ids = {str(row["order_id"]) for row in orders}
    lines += [f"  order     {_row(row)}" for row in orders]
    intents = [row for row in evidence.rows("intents") if str(row["signal_id"]) == signal_id]
    tags = {row["tag"] for row in intents}
    lines += [f"  intent    {_row(row)}" for row in intents]
    lines += [f"  call      {_row(row)}" for row in evidence.rows("calls") if row["tag"] in tags]
    lines += [f"  trade     {_row(row)}" for row in evidence.rows("trades") if row["tag"] in tags]
    places: defaultdict[str, list[str]] = defaultdict(list)
    for record in evidence.records:
        event_id = dict(record.headers)["ce_id"].decode()
        places[event_id].append(f"{record.topic}/{record.partition}@{record.offset}")
    for event_id, event in evidence.events.items():
        if _is_of(event, signal_id, order_ids):
            payload = event.WhichOneof("payload") or ""
            said = " ".join(str(getattr(event, payload)).split())
            lines.append(f"  event     {payload} at {', '.join(places[event_id])}: {said[:300]}")
    return "\n".join(lines)


def _is_of(event: Event, signal_id: str, order_ids: set[str]) -> bool:
    payload = event.WhichOneof("payload") or ""
    said = getattr(event, payload)
    if payload in ORDER_EVENTS:
        return said.order.order_id in order_ids
    return event.event_id == signal_id or getattr(said, "signal_id", "") == signal_id


def _row(row: dict[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in row.items() if value is not None and name != "rules")
