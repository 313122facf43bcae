"""Records the spans of handled records: one a record, under the span that published it, which it links to as well."""

from __future__ import annotations

from collections.abc import Sequence

from alphapanda.consuming.delivery import Delivery, Handler
from alphapanda.contract.topics import TopicMap
from alphapanda.domain import ids
from alphapanda.resilience.failures import in_one_line, is_transient
from alphapanda.telemetry import spans
from alphapanda.telemetry.subjects import subject_attributes
from alphapanda.telemetry.tracing import (
    TRACEPARENT,
    Attribute,
    Kind,
    SpanContext,
    Tracer,
    header_context,
    new_span_id,
)


class TracedHandler:
    """Wraps a handler and records a span for each record that it handles, and for each that fails by a bug.

    Of topics that carry no money only records whose publishing was recorded get a span, and failures.

    Args:
        handler: the wrapped handler.
        tracer: the service's tracer.
        group: the consumer group.
        topic_map: says which topics carry money.
        successes: whether a record that was handled gets a span here; else its handler records one of its own.
        decides: whether the handler notes what it decided on a record; one without a note had been handled before.
    """

    def __init__(
        self,
        handler: Handler,
        tracer: Tracer,
        group: str,
        topic_map: TopicMap,
        *,
        successes: bool = True,
        decides: bool = False,
    ) -> None:
        self._handler = handler
        self._tracer = tracer
        self._group = group
        self._topic_map = topic_map
        self._successes = successes
        self._decides = decides

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Handles the batch."""
        began = self._tracer.now()
        try:
            await self._handler.handle(batch)
        except Exception as error:
            # Of several, nobody knows yet which one is at fault: they are tried one by one. What passes is tried again.
            if len(batch) == 1 and not is_transient(error):
                self._failed(batch[0], began, error)
            raise
        if self._successes:
            money = self._topic_map.policy(batch[0].record.topic).money
            end = self._tracer.now()
            for delivery in batch:
                headers = delivery.record.headers
                # A frame's context is its last header: many frames have none, and nothing else is looked at.
                if money or (headers and headers[-1][0] == TRACEPARENT):
                    self._handled(delivery, header_context(headers), began, end)

    def _handled(self, delivery: Delivery, parent: SpanContext | None, began_ns: int, end_ns: int) -> None:
        event = delivery.event
        noted = self._tracer.noted(event.event_id) if self._decides else None
        attributes = record_attributes(delivery, self._tracer.messaging_system, self._group)
        if noted is not None:
            attributes.update(noted[1])
        elif self._decides:
            attributes[spans.REDELIVERED] = True
        self._tracer.record(
            f"{spans.PROCESS} {delivery.record.topic}",
            Kind.CONSUMER,
            SpanContext(ids.trace_id(event.correlation_id), noted[0] if noted else new_span_id()),
            parent,
            began_ns,
            attributes,
            end_ns=end_ns,
            links=() if parent is None else (parent,),
        )

    def _failed(self, delivery: Delivery, began_ns: int, error: Exception) -> None:
        parent = header_context(delivery.record.headers)
        attributes = record_attributes(delivery, self._tracer.messaging_system, self._group)
        attributes[spans.ERROR_TYPE] = type(error).__qualname__
        self._tracer.record(
            f"{spans.PROCESS} {delivery.record.topic}",
            Kind.CONSUMER,
            SpanContext(ids.trace_id(delivery.event.correlation_id), new_span_id()),
            parent,
            began_ns,
            attributes,
            links=() if parent is None else (parent,),
            error=in_one_line(error),
        )


def record_attributes(delivery: Delivery, system: str, group: str) -> dict[str, Attribute]:
    """What the span of a record's handling says of the record, and of the order or signal that it tells of."""
    event, record = delivery.event, delivery.record
    attributes: dict[str, Attribute] = {
        spans.MESSAGING_SYSTEM: system,
        spans.MESSAGING_DESTINATION: record.topic,
        spans.MESSAGING_PARTITION: str(record.partition),
        spans.MESSAGING_OPERATION_NAME: spans.PROCESS,
        spans.MESSAGING_OPERATION_TYPE: "process",
        spans.MESSAGING_GROUP: group,
        spans.MESSAGING_MESSAGE_ID: event.event_id,
        spans.MESSAGING_CONVERSATION_ID: event.correlation_id,
        spans.MESSAGING_OFFSET: record.offset,
    }
    if delivery.broker:
        attributes[spans.BROKER] = delivery.broker
    attributes.update(subject_attributes(event))
    return attributes
