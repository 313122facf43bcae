"""The span of an order's drive: its id follows from the order, once in a process, and again after a restart."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from alphapanda.domain import ids
from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.order import FailureReason, PositionEffect, Product, Side
from alphapanda.domain.signal import MANUAL, PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import Approved
from alphapanda.telemetry import spans
from alphapanda.telemetry.spans import EXECUTE_ORDER, LOOK_UP
from alphapanda.telemetry.tracing import CurrentSpan, Kind, Span, SpanContext, Tracer, current_span
from alphapanda.trading.core.order import Order
from alphapanda.trading.order_spans import UNRECORDED, OrderSpans
from alphapanda.trading.traders.trader import NoClearAnswer

CHAIN, SIGNAL, VERDICT = (ids.derived_id(one) for one in ("chain", "signal", "verdict"))
TRACE = ids.trace_id(CHAIN)
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def order(strategy_id: str = "ema") -> Order:
    key = PositionKey("paper", "default", strategy_id, "NSE:INFY", Product.MIS)
    approved = Approved(
        SIGNAL, CHAIN, key, 408065, 1, Side.BUY, 100, AT_MARKET, PositionEffect.OPENS, NOW, NOW, ()
    )
    return Order.approved(approved, VERDICT, [100])


@pytest.fixture
def recorded() -> list[Span]:
    """The spans that were recorded."""
    return []


@pytest.fixture
def traced(recorded) -> OrderSpans:
    """The spans of a process's orders."""
    tracer = Tracer("trading", recorded.append, "sqlite")
    return OrderSpans(tracer, lambda broker: f"{broker}.validated", "trading")


def drive(traced: OrderSpans, one: Order, **how: bool) -> None:
    with traced.driving(one, traced.began(), **how):
        pass


def test_a_new_order_s_drive_hangs_under_its_verdict(traced, recorded) -> None:
    """Its parent is the verdict's publishing, its id the order's; its state is the last that was stored."""
    one = order()
    with traced.driving(one, traced.began(), new=True):
        one.not_sent(FailureReason.EXPIRED, "too late", NOW)
        traced.changed(one)
    (span,) = recorded
    assert (span.name, span.kind) == ("process paper.validated", Kind.CONSUMER)
    assert span.context == (TRACE, spans.driven(one.order_id))
    assert span.parent == (TRACE, spans.published(VERDICT))
    assert span.links == (span.parent,)
    assert span.attributes[spans.ORDER_STATUS] == "FAILED"
    assert span.attributes[spans.FAILURE_REASON] == "EXPIRED"
    assert span.attributes[spans.ORDER_ID] == one.order_id
    assert span.attributes[spans.SIGNAL_ID] == SIGNAL


def test_a_signal_that_comes_again_adds_a_span_of_its_own(traced, recorded) -> None:
    """Nothing hangs under it: the order's span stays the one of its first drive."""
    one = order()
    drive(traced, one, new=True)
    drive(traced, one, new=False)
    first, second = recorded
    assert second.attributes[spans.REDELIVERED] is True
    assert second.context.trace_id == first.context.trace_id
    assert second.context.span_id != first.context.span_id
    assert second.parent == first.parent


def test_an_open_order_is_recorded_once_after_a_restart(traced, recorded) -> None:
    """The next process records it under the same id, marked, and a further assignment adds nothing."""
    one = order()
    drive(traced, one, new=False, resumed=True)
    drive(traced, one, new=False, resumed=True)
    (span,) = recorded
    assert span.context.span_id == spans.driven(one.order_id)
    assert span.attributes[spans.RESUMED] is True


def test_a_failed_drive_says_so_and_fails(traced, recorded) -> None:
    """The error is raised on, and is in the span."""
    with pytest.raises(ZeroDivisionError), traced.driving(order(), traced.began(), new=True):
        raise ZeroDivisionError("a bug")
    assert "a bug" in recorded[0].error


def test_a_broker_call_is_a_client_span_under_the_order(traced, recorded) -> None:
    """Tag, the broker's order and its state are said; without an answer, the error."""
    one = order()
    report = BrokerOrder("7", BrokerOrderStatus.COMPLETE)
    traced.broker_call(EXECUTE_ORDER, one, "TAG", traced.began(), report, None)
    traced.broker_call(LOOK_UP, one, "TAG", traced.began(), None, NoClearAnswer("it hangs"))
    answered, unclear = recorded
    assert (answered.name, answered.kind) == ("execute_order paper", Kind.CLIENT)
    assert answered.parent == unclear.parent == (TRACE, spans.driven(one.order_id))
    said = {spans.TAG: "TAG", spans.BROKER_ORDER_ID: "7", spans.BROKER_STATUS: "COMPLETE"}
    assert said.items() <= answered.attributes.items()
    assert (unclear.name, unclear.error) == ("look_up paper", "NoClearAnswer: it hangs")
    assert unclear.attributes[spans.ERROR_TYPE] == "NoClearAnswer"


async def _placed(traced: OrderSpans, one: Order, *, resumed: bool) -> SpanContext | None:
    """Drives a manual order in a task of its own; returns the span under which that task works."""

    async def run() -> SpanContext | None:
        traced.drive_manual(one, resumed=resumed)
        working = current_span.get()
        traced.end_manual(one.order_id)
        return None if working is None else working.context

    return await asyncio.create_task(run())


async def test_a_manual_order_hangs_under_its_command(traced, recorded) -> None:
    """Its task works in its span, whose parent is the span of the call that placed it."""
    one = order(MANUAL)
    current_span.set(call := CurrentSpan(TRACE, "00000000000000d1"))
    working = await _placed(traced, one, resumed=False)
    (span,) = recorded
    assert (span.name, span.kind, span.parent) == ("drive order", Kind.INTERNAL, call.context)
    assert span.context == working == (TRACE, spans.driven(one.order_id))
    assert span.links == ()


async def test_a_manual_order_s_later_drive_is_under_its_first(traced, recorded) -> None:
    """A verdict that risk postponed continues it: one more span, and no id twice."""
    one = order(MANUAL)
    await _placed(traced, one, resumed=False)
    working = await _placed(traced, one, resumed=False)
    _, later = recorded
    assert later.parent == (TRACE, spans.driven(one.order_id))
    assert later.context == working
    assert later.context.span_id != spans.driven(one.order_id)


async def test_a_resumed_manual_order_brings_its_command_along(traced, recorded) -> None:
    """The call of a process that was killed has left no span: a stand-in is the root."""
    one = order(MANUAL)
    await _placed(traced, one, resumed=True)
    command, driven = recorded
    assert (command.kind, command.parent) == (Kind.SERVER, None)
    assert command.context == driven.parent == (TRACE, spans.placed(SIGNAL))
    assert command.attributes[spans.RESUMED] is driven.attributes[spans.RESUMED] is True


def test_what_is_off_costs_nothing() -> None:
    """No time is read, nothing is kept."""
    one = order()
    with UNRECORDED.driving(one, UNRECORDED.began(), new=True):
        UNRECORDED.changed(one)
    assert (UNRECORDED.began(), UNRECORDED._driven, UNRECORDED._recorded) == (0, {}, {})
