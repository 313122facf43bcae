"""The spans of orders: what drives one, from the verdict to its end or to the broker's look-ups, and each call of a broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

from alphapanda.consuming.delivery import Delivery
from alphapanda.consuming.traced_handler import record_attributes
from alphapanda.domain import ids
from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.domain.signal import MANUAL
from alphapanda.resilience.failures import in_one_line
from alphapanda.storage.recovered_spans import stand_in_for_command
from alphapanda.telemetry import spans
from alphapanda.telemetry.tracing import (
    OFF,
    Attribute,
    CurrentSpan,
    Kind,
    SpanContext,
    Tracer,
    current_span,
    header_context,
    new_span_id,
)
from alphapanda.trading.core.order import Order

MOST_KEPT: Final = 10_000
"""Most orders and records that are remembered at once; then the oldest is forgotten."""
T = TypeVar("T")


@dataclass(slots=True)
class _Received:
    """The record of a verdict: the span that published it, and what its own span says of it."""

    parent: SpanContext | None
    name: str
    attributes: dict[str, Attribute]


@dataclass(slots=True)
class _Driven:
    """An order that is being driven. `again`: id of the span of a further drive of a manual order, under its first; `command`: the call that placed it."""

    order: Order
    began_ns: int
    new: bool
    resumed: bool
    again: str = ""
    command: CurrentSpan | None = None
    found: dict[str, Attribute] = field(default_factory=dict)


class OrderSpans:
    """Records the spans of trading's orders.

    An order's first drive in this process is recorded under an id that follows from the order, so whatever it causes knows its parent;
    after a restart the next process records it again. Later broker calls are under the same span.

    Args:
        tracer: trading's tracer.
        topic: returns the topic of a broker's approved signals.
        group: trading's consumer group.
    """

    def __init__(self, tracer: Tracer, topic: Callable[[str], str] = lambda _: "", group: str = "") -> None:
        self._tracer = tracer
        self._topic = topic
        self._group = group
        self._received: dict[str, _Received] = {}
        self._driven: dict[str, _Driven] = {}
        self._recorded: dict[str, None] = {}

    @property
    def on(self) -> bool:
        """Whether spans are recorded."""
        return self._tracer.on

    def began(self) -> int:
        """The time at which something begins; 0 where nothing is recorded."""
        return self._tracer.began()

    def received(self, delivery: Delivery) -> None:
        """Keeps what the span of an approved signal's order says of its record."""
        if self._tracer.on:
            _keep(
                self._received,
                delivery.event.event_id,
                _Received(
                    header_context(delivery.record.headers),
                    f"{spans.PROCESS} {delivery.record.topic}",
                    record_attributes(delivery, self._tracer.messaging_system, self._group),
                ),
            )

    def changed(self, order: Order) -> None:
        """Notes an order's latest state for its span."""
        driven = self._driven.get(order.order_id)
        if driven is not None:
            driven.found = order_state(order)

    @contextmanager
    def driving(self, order: Order, began_ns: int, *, new: bool, resumed: bool = False) -> Iterator[None]:
        """Records the drive of an order.

        Args:
            order: the order as it was received or read.
            began_ns: what `began` returned.
            new: whether this process has just stored it; else its signal was received before.
            resumed: whether it is an open order of before this process; one whose span this process has recorded gets no other.
        """
        if not began_ns or (resumed and order.order_id in self._recorded):
            yield
            return
        driven = _Driven(order, began_ns, new, resumed)
        _keep(self._driven, order.order_id, driven)
        error = ""
        try:
            yield
        except BaseException as failure:
            error = in_one_line(failure) if isinstance(failure, Exception) else ""
            raise
        finally:
            self._driven.pop(order.order_id, None)
            self._record(driven, error)

    def drive_manual(self, order: Order, *, resumed: bool) -> None:
        """Begins the span of a manual order in the task that continues it: its calls are under it. `end_manual` records it."""
        if not self._tracer.on or order.order_id in self._driven:
            return
        again = new_span_id() if order.order_id in self._recorded else ""
        command = current_span.get()
        driven = _Driven(order, self._tracer.now(), not resumed, resumed, again, command)
        _keep(self._driven, order.order_id, driven)
        span_id = again or spans.driven(order.order_id)
        current_span.set(CurrentSpan(ids.trace_id(order.correlation_id), span_id))

    def end_manual(self, order_id: str) -> None:
        """Records the span of a manual order, if one was begun."""
        driven = self._driven.pop(order_id, None)
        if driven is not None:
            self._record(driven, "")

    def settled(self, order_id: str) -> None:
        """Forgets an order that has ended."""
        self._recorded.pop(order_id, None)

    def broker_call(
        self,
        name: str,
        order: Order,
        tag: str,
        began_ns: int,
        report: BrokerOrder | None,
        error: Exception | None,
    ) -> None:
        """Records a call of the broker.

        Args:
            name: EXECUTE_ORDER, MODIFY_ORDER, CANCEL_ORDER or LOOK_UP.
            order: the order it is about.
            tag: the intent's tag.
            began_ns: what `began` returned.
            report: the broker's answer; None: it shows no such order, or didn't answer.
            error: why there is no answer.
        """
        if not began_ns:
            return
        attributes = {**subject(order), spans.TAG: tag}
        if report is not None:
            attributes |= {
                spans.BROKER_ORDER_ID: report.broker_order_id,
                spans.BROKER_STATUS: report.status.name,
            }
        if error is not None:
            attributes[spans.ERROR_TYPE] = type(error).__qualname__
        trace_id = ids.trace_id(order.correlation_id)
        self._tracer.record(
            f"{name} {order.key.broker}",
            Kind.CLIENT,
            SpanContext(trace_id, new_span_id()),
            SpanContext(trace_id, spans.driven(order.order_id)),
            began_ns,
            attributes,
            error="" if error is None else in_one_line(error),
        )

    def _record(self, driven: _Driven, error: str) -> None:
        order = driven.order
        trace_id = ids.trace_id(order.correlation_id)
        attributes = {**subject(order), **driven.found}
        if driven.resumed:
            attributes[spans.RESUMED] = True
        elif not driven.new:
            attributes[spans.REDELIVERED] = True
        known = driven.new or driven.resumed
        _keep(self._recorded, order.order_id, None)
        span_id = spans.driven(order.order_id) if known else new_span_id()
        if order.key.strategy_id == MANUAL:
            parent: SpanContext | None = SpanContext(trace_id, spans.placed(order.signal_id))
            if driven.command is not None and driven.command.trace_id == trace_id:
                parent = driven.command.context
            name, kind = spans.DRIVE_ORDER, Kind.INTERNAL
            if driven.again:
                span_id, parent = driven.again, SpanContext(trace_id, spans.driven(order.order_id))
            elif driven.resumed:
                self._stand_in_for_command(order, driven.began_ns)
        else:
            received = self._received.pop(order.causation_id, None)
            name, kind = f"{spans.PROCESS} {self._topic(order.key.broker)}", Kind.CONSUMER
            parent = (
                SpanContext(trace_id, spans.published(order.causation_id)) if order.causation_id else None
            )
            if received is not None:
                parent, name = received.parent, received.name
                attributes = {**received.attributes, **attributes}
        self._tracer.record(
            name,
            kind,
            SpanContext(trace_id, span_id),
            parent,
            driven.began_ns,
            attributes,
            links=(parent,) if parent is not None and kind is Kind.CONSUMER else (),
            error=error,
        )

    def _stand_in_for_command(self, order: Order, at_ns: int) -> None:
        """Records the command of a manual order whose process had no time to: what follows is under it."""
        command = stand_in_for_command(order.signal_id)
        self._tracer.record(
            command.name,
            command.kind,
            SpanContext(ids.trace_id(order.correlation_id), command.span_id),
            None,
            at_ns,
            {**command.attributes, **subject(order), spans.RESUMED: True},
            end_ns=at_ns,
        )


UNRECORDED: Final = OrderSpans(OFF)
"""Records nothing."""


def subject(order: Order) -> dict[str, Attribute]:
    """Which order a span is about."""
    return {
        spans.CORRELATION_ID: order.correlation_id,
        spans.ORDER_ID: order.order_id,
        spans.SIGNAL_ID: order.signal_id,
        spans.BROKER: order.key.broker,
        spans.ACCOUNT: order.key.account,
        spans.STRATEGY_ID: order.key.strategy_id,
        spans.INSTRUMENT_ID: order.key.instrument_id,
        spans.SIDE: order.side.name,
        spans.QUANTITY: order.quantity,
    }


def order_state(order: Order) -> dict[str, Attribute]:
    """What a span says of an order's state."""
    found: dict[str, Attribute] = {
        spans.ORDER_STATUS: order.status.name,
        spans.ORDER_REVISION: order.revision,
    }
    if order.failure is not None:
        found |= {spans.FAILURE_REASON: order.failure.name, spans.MESSAGE: order.message}
    return found


def _keep(where: dict[str, T], key: str, value: T) -> None:
    if len(where) >= MOST_KEPT:
        where.pop(next(iter(where)))
    where[key] = value
