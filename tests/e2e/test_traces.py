"""The trace of an order on a running platform, as a collector gets it: which spans, and how they hang together.

The collector is frozen and then killed under orders: none of them waits for it.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from evidence import Evidence, read_evidence
from recordings import walk
from running import Platform
from tests.span_tree import Seen, Spans, check_whole, child, picture, span_collector

from alphapanda.domain import ids
from alphapanda.domain.order import OrderStatus
from alphapanda.telemetry import spans
from panda.common.v1.common_pb2 import ORDER_STATUS_FILLED, PRODUCT_CNC, SIDE_BUY
from panda.trading.v1.trading_pb2 import Order, PlaceOrderRequest

CALLER = ids.trace_id(ids.derived_id("a caller's trace")), "00f067aa0ba902b7"


@dataclass
class Traded:
    """What a recording and some manual orders left: evidence, spans, and the orders by what was done to the collector."""

    evidence: Evidence
    spans: Spans
    orders: dict[str, Order]
    logged: list[dict[str, object]]

    def filled(self) -> dict[str, object]:
        """The first order of the strategy that filled."""
        orders = [row for row in self.evidence.rows("orders") if row["strategy_id"] == "held"]
        return min((one for one in orders if one["status"] == OrderStatus.FILLED), key=lambda one: one["seq"])


@pytest.fixture(scope="module")
def traded() -> Iterator[Traded]:
    """From half past two to the close; then a manual order that its caller traces, one while the collector is frozen, one without it."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder, span_collector() as (collector, endpoint):
        file = walk(Path(folder), begins="14:30", bars=54, last="15:26")
        feed = ("--feed", f"replay:{file}", "--instrument", "NSE:INFY")
        settings = {
            "ALPHAPANDA_PAPER_TRADING__FILL": "close",  # after the last bar there is no next open
            "ALPHAPANDA_TELEMETRY__OTLP_ENDPOINT": endpoint,
            "ALPHAPANDA_TELEMETRY__QUERY_RATIO": "0",
            "ALPHAPANDA_TELEMETRY__MARKET_DATA_RATIO": "0",
        }
        with Platform(Path(folder, "data"), *feed, environment=settings) as platform:
            platform.start()
            platform.run_strategy("held")
            platform.wait_for("recording.ended", 60)

            def place(name: str, *metadata: tuple[str, str], quantity: int = 1) -> Order:
                request = PlaceOrderRequest(
                    request_id=name,
                    symbol="NSE:INFY",
                    side=SIDE_BUY,
                    quantity=quantity,
                    product=PRODUCT_CNC,
                )
                return platform.trading.PlaceOrder(request, metadata=metadata, timeout=30).order

            orders = {"traced": place("traced", ("traceparent", f"00-{CALLER[0]}-{CALLER[1]}-01"))}
            orders["refused"] = place("refused", quantity=100_001)
            platform.come_to_rest()
            collector.frozen.set()
            orders["frozen"] = place("frozen")
            collector.die()
            orders["killed"] = place("killed")
            logged = platform.log()
            platform.stop()
            yield Traded(read_evidence(platform.data_dir), collector, orders, logged)


def check_message(span: Seen, topic: str, operation: str, correlation_id: str) -> None:
    """Topic, operation and correlation id are said as the semantic conventions have it."""
    said = span.attributes
    assert said[spans.MESSAGING_SYSTEM] == "sqlite"
    assert said[spans.MESSAGING_DESTINATION] == topic
    assert said[spans.MESSAGING_OPERATION_TYPE] == operation
    assert said[spans.MESSAGING_CONVERSATION_ID] == correlation_id
    assert said[spans.MESSAGING_MESSAGE_ID]


def test_an_order_s_trace_is_one_tree(traded):
    """From the frame to the ledger each span has its kind, its parent, its link and its attributes, under the correlation id."""
    order = traded.filled()
    correlation_id = order["correlation_id"]
    trace = traded.spans.of(correlation_id)
    signal_id, order_id = str(order["signal_id"]), str(order["order_id"])
    steps = (
        ("marketdata: publish market.ticks", "PRODUCER"),
        ("strategy: process market.ticks", "CONSUMER"),
        ("strategy: publish paper.signals.raw", "PRODUCER"),
        ("risk: process paper.signals.raw", "CONSUMER"),
        ("risk: publish paper.signals.validated", "PRODUCER"),
        ("trading: process paper.signals.validated", "CONSUMER"),
        ("trading: publish paper.orders.filled", "PRODUCER"),
        ("portfolio: process paper.orders.filled", "CONSUMER"),
    )
    span = check_whole(trace)
    chain = [span] + [span := child(trace, span, about) for about, _ in steps[1:]]
    assert [(one.about, one.kind) for one in chain] == list(steps)
    for parent, one in itertools.pairwise(chain):
        assert one.start_ns >= parent.start_ns, picture(trace)
        links = ((parent.trace_id, parent.span_id),) if one.kind == "CONSUMER" else ()
        assert one.links == links, one.about
    for one in chain:
        operation = {"PRODUCER": "send", "CONSUMER": "process"}[one.kind]
        check_message(one, one.name.partition(" ")[2], operation, correlation_id)

    frame, decided, _, judged, _, driven, filled, booked = chain
    assert frame.attributes[spans.FRAME_ID] == correlation_id
    assert frame.attributes[spans.TICKS] == 1
    about = {
        spans.SIGNAL_ID: signal_id,
        spans.STRATEGY_ID: "held",
        spans.BROKER: "paper",
        spans.ACCOUNT: "default",
        spans.INSTRUMENT_ID: "NSE:INFY",
    }
    for one in (decided, judged, driven, booked):
        assert about.items() <= one.attributes.items(), one.about
    assert abs(decided.attributes[spans.TARGET]) == 100
    assert judged.attributes[spans.VERDICT] == "APPROVED"
    for one in (driven, booked):
        assert one.attributes[spans.ORDER_ID] == order_id
    assert driven.attributes[spans.ORDER_STATUS] == "FILLED"
    call = child(trace, driven, "trading: execute_order paper")
    assert call.kind == "CLIENT"
    assert call.attributes[spans.BROKER_STATUS] == "COMPLETE"
    assert call.attributes[spans.ORDER_ID] == order_id
    assert driven.start_ns <= call.start_ns <= call.end_ns <= driven.end_ns
    (fill,) = [one for one in traded.evidence.rows("fills") if str(one["order_id"]) == order_id]
    assert booked.attributes[spans.FILL_ID] == str(fill["fill_id"])
    child(trace, filled, "risk: process paper.orders.filled")
    submitted = child(trace, driven, "trading: publish paper.orders.submitted")
    child(trace, submitted, "risk: process paper.orders.submitted")


def test_the_correlation_id_is_the_trace_id_everywhere(traded):
    """Rows, records' headers and log lines of an order name the trace, which is the correlation id in other letters."""
    order = traded.filled()
    correlation_id = order["correlation_id"]
    trace_id = correlation_id.replace("-", "")
    events = traded.evidence.events
    records = [
        record
        for record in traded.evidence.records
        if (event := events[dict(record.headers)["ce_id"].decode()]).correlation_id == correlation_id
        and event.WhichOneof("payload") != "tick_frame"
    ]
    assert len(records) >= 4
    known = {(one.trace_id, one.span_id): one.name for one in traded.spans.of(correlation_id)}
    for record in records:
        _, trace, span, recorded = dict(record.headers)["traceparent"].decode().split("-")
        assert (trace, recorded) == (trace_id, "01")
        assert known[trace, span] == f"publish {record.topic}"
    lines = [one for one in traded.logged if one.get("correlation_id") == correlation_id]
    assert {one["trace_id"] for one in lines} == {trace_id}
    assert {one["event"] for one in lines} >= {"signal.validated", "fill.booked"}


def test_a_square_off_by_the_clock_is_one_tree(traded):
    """What no strategy and no person asked for begins with the timer that found it due."""
    (due,) = [one for one in traded.spans.taken if one.name == spans.SQUARE_OFF_DUE]
    trace = traded.spans.traces()[due.trace_id]
    assert check_whole(trace) == due
    assert (due.service, due.kind, due.attributes[spans.STRATEGY_ID]) == ("risk", "INTERNAL", "held")
    span = due
    for about in (
        "risk: publish paper.signals.raw",
        "risk: process paper.signals.raw",
        "risk: publish paper.signals.validated",
        "trading: process paper.signals.validated",
        "trading: publish paper.orders.filled",
        "portfolio: process paper.orders.filled",
    ):
        span = child(trace, span, about)


def test_a_refusal_names_its_rule_and_has_a_trace(traded):
    """A refused order's verdict says the reason, and the rule that decided; no broker is called."""
    trace = traded.spans.of(traded.orders["refused"].correlation_id)
    assert check_whole(trace).name.endswith("/PlaceOrder")
    (decided,) = [one for one in trace if one.about == "risk: decide signal"]
    assert decided.attributes[spans.VERDICT] == "REJECTED"
    assert decided.attributes[spans.REASON] == "ORDER_QUANTITY"
    assert decided.attributes[spans.RULE] == "order_quantity"
    assert decided.attributes[spans.MESSAGE]
    child(trace, decided, "risk: publish paper.signals.rejected")
    assert "CLIENT" not in {one.kind for one in trace if one.name.startswith("execute_order")}


def test_a_caller_s_trace_goes_on_in_its_order(traded):
    """A manual order takes its correlation id from the caller's traceparent; its spans are under the caller's, from the command to the fill."""
    order = traded.orders["traced"]
    assert order.correlation_id == ids.correlation_id(CALLER[0])
    trace = traded.spans.of(order.correlation_id)
    (placed,) = [one for one in trace if one.kind == "SERVER" and one.name.endswith("/PlaceOrder")]
    assert (placed.service, placed.parent) == ("trading", CALLER[1])
    assert placed.attributes[spans.RPC_SERVICE] == "panda.trading.v1.TradingService"
    assert placed.attributes[spans.RPC_METHOD] == "PlaceOrder"
    assert placed.attributes[spans.RPC_STATUS_CODE] == 0
    assert placed.attributes[spans.ORDER_ID] == order.state.order_id
    others = [one for one in trace if one is not placed]
    assert {one.parent for one in others} <= {one.span_id for one in trace}
    driven = child(trace, placed, "trading: drive order")
    asked = child(trace, driven, "trading: panda.risk.v1.RiskService/AuthorizeOrder")
    answered = child(trace, asked, "risk: panda.risk.v1.RiskService/AuthorizeOrder")
    assert (driven.kind, asked.kind, answered.kind) == ("INTERNAL", "CLIENT", "SERVER")
    decided = child(trace, answered, "risk: decide signal")
    assert decided.attributes[spans.VERDICT] == "APPROVED"
    child(trace, decided, "risk: publish paper.signals.validated")
    filled = child(trace, driven, "trading: publish paper.orders.filled")
    child(trace, filled, "portfolio: process paper.orders.filled")
    assert order.state.order_id in {one.attributes.get(spans.ORDER_ID) for one in trace}


def test_what_led_to_no_order_has_no_span(traded):
    """Of the frames only those that led to signals are there, and no query: nothing is recorded a tick."""
    frames = [one for one in traded.spans.taken if one.name == "publish market.ticks"]
    led = {event.correlation_id for event in traded.evidence.of("trading_signal")}
    assert {one.attributes[spans.FRAME_ID] for one in frames} <= led
    assert len(frames) < len(traded.evidence.of("tick_frame"))
    assert not [one for one in traded.spans.taken if one.kind == "SERVER" and "/List" in one.name]


@pytest.mark.parametrize("collector", ["frozen", "killed"])
def test_no_order_waits_for_the_collector(traded, collector):
    """With a collector that has frozen, and without one, orders fill as ever."""
    assert traded.orders[collector].state.status == ORDER_STATUS_FILLED
