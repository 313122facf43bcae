"""Records again what a process that was killed may have had no time to send.

A process sends its spans a moment after they end, so one that is killed loses the last of them, and what came of its decisions would
hang in the air. Ids of such spans are derived, and what they told of is in the outbox: the next process records the publishing of the last
rows again, to the same letter, and a short stand-in for each decision, marked as resumed. Where the originals had been sent, the trace
has both under one id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from alphapanda.contract.topics import payload_policies
from alphapanda.domain.order import OrderStatus
from alphapanda.domain.signal import MANUAL
from alphapanda.telemetry import spans
from alphapanda.telemetry.subjects import subject_attributes
from alphapanda.telemetry.tracing import Attribute, Kind, SpanContext, Tracer
from panda.events.v1.events_pb2 import Event

LOST_SECONDS = 2
"""Spans of the last rows before the kill, that far back, may be lost: several times what a span waits to be sent."""
FRESH_SECONDS = 600
"""A process that stopped longer ago has lost nothing, or nobody asks for it any more."""
MOST_ROWS = 1000

PLACE_ORDER = "panda.trading.v1.TradingService/PlaceOrder"


class StandIn(NamedTuple):
    """A span to be recorded for a process that is gone."""

    name: str
    kind: Kind
    span_id: str
    parent: str
    attributes: dict[str, Attribute]


def rows_that_may_be_lost(schema: str) -> str:
    """The statement that finds the rows of an outbox whose spans may be lost: the last published ones, and the unpublished."""
    columns = "seq, event_id, topic, partition, key, value, event_type, source, occurred_at, published_at, traceparent"
    traced = f"SELECT {columns} FROM {schema}.outbox WHERE traceparent <> '' AND"
    since = (
        f"greatest((SELECT max(published_at) FROM {schema}.outbox) - interval '{LOST_SECONDS} s',"
        f" CAST(:now AS timestamptz) - interval '{FRESH_SECONDS} s')"
    )
    # Two parts, because each has an index of its own and neither may read the whole outbox.
    return (
        f"(({traced} published_at IS NULL ORDER BY seq DESC LIMIT {MOST_ROWS}) UNION ALL"
        f" ({traced} published_at >= {since} ORDER BY published_at DESC LIMIT {MOST_ROWS}))"
        f" ORDER BY seq DESC LIMIT {MOST_ROWS}"
    )


def stand_ins(event: Event) -> Iterator[StandIn]:
    """The spans that tell of the decision behind an event; none where its process records it anyhow, or nobody hangs under it."""
    payload, broker = event.WhichOneof("payload") or "", event.broker
    if payload in {"signal_validated", "signal_rejected"}:
        verdict = getattr(event, payload)
        by_hand = verdict.strategy_id == MANUAL
        yield StandIn(
            spans.DECIDE_SIGNAL if by_hand else f"{spans.PROCESS} {_topic('trading_signal', broker)}",
            Kind.INTERNAL if by_hand else Kind.CONSUMER,
            spans.judged(verdict.signal_id),
            (spans.placed if by_hand else spans.published)(verdict.signal_id),
            {spans.VERDICT: "APPROVED" if payload == "signal_validated" else "REJECTED"},
        )
    elif payload.startswith("order_"):
        order = getattr(event, payload).order
        if not OrderStatus(order.status).is_final:
            return  # it is driven on, under the same id
        if order.strategy_id == MANUAL:
            yield stand_in_for_command(order.signal_id)
            parent = spans.placed(order.signal_id)
            yield StandIn(spans.DRIVE_ORDER, Kind.INTERNAL, spans.driven(order.order_id), parent, {})
        else:
            name, parent = f"{spans.PROCESS} {_topic('signal_validated', broker)}", event.causation_id
            yield StandIn(name, Kind.CONSUMER, spans.driven(order.order_id), spans.published(parent), {})
    elif payload == "portfolio_snapshot" and event.causation_id != event.correlation_id:
        name = f"{spans.PROCESS} {_topic('order_filled', broker)}"
        parent = spans.published(event.causation_id)
        yield StandIn(name, Kind.CONSUMER, spans.booked(event.causation_id), parent, {})
    elif payload == "trading_signal":
        yield StandIn(spans.SQUARE_OFF_DUE, Kind.INTERNAL, spans.decided(event.event_id), "", {})


def stand_in_for_command(signal_id: str) -> StandIn:
    """The command that placed a manual order."""
    service, _, method = PLACE_ORDER.partition("/")
    rpc: dict[str, Attribute] = {
        spans.RPC_SYSTEM: "grpc",
        spans.RPC_SERVICE: service,
        spans.RPC_METHOD: method,
    }
    return StandIn(PLACE_ORDER, Kind.SERVER, spans.placed(signal_id), "", rpc)


def record_stand_ins(tracer: Tracer, event: Event, traceparent: SpanContext, at_ns: int) -> None:
    """Records the stand-ins of the decision behind an event, unless it was published under another span."""
    found = list(stand_ins(event))
    if not any(one.span_id == traceparent.span_id for one in found):
        return  # a command's, whose span nobody knows
    for one in found:
        parent = SpanContext(traceparent.trace_id, one.parent) if one.parent else None
        tracer.record(
            one.name,
            one.kind,
            SpanContext(traceparent.trace_id, one.span_id),
            parent,
            at_ns,
            {
                spans.CORRELATION_ID: event.correlation_id,
                spans.BROKER: event.broker,
                **subject_attributes(event),
                **one.attributes,
                spans.RESUMED: True,
            },
            end_ns=at_ns,
            links=(parent,) if parent is not None and one.kind is Kind.CONSUMER else (),
        )


def _topic(payload: str, broker: str) -> str:
    return payload_policies()[payload].topic(broker)
