"""The spans of risk's decisions: the verdict, the rule that decided, and what becomes of a signal that waits."""

from __future__ import annotations

from alphapanda.domain import ids
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.decision_spans import DecisionSpans, verdict_attributes
from alphapanda.telemetry import spans
from alphapanda.telemetry.tracing import CurrentSpan, Kind, Span, Tracer, current_span


def traced() -> tuple[DecisionSpans, Tracer, list[Span]]:
    recorded: list[Span] = []
    tracer = Tracer("risk", recorded.append, "sqlite")
    return DecisionSpans(tracer), tracer, recorded


def test_a_verdict_names_what_decided(market) -> None:
    """An approval says side and quantity; a refusal its reason, sentence and the rule that failed."""
    book, inputs = RiskBook(), market.inputs(max_order=150)
    (approved,) = book.judge(market.target(100), inputs)
    assert verdict_attributes(approved) == {
        spans.VERDICT: "APPROVED",
        spans.SIDE: "BUY",
        spans.QUANTITY: 100,
    }
    (refused,) = RiskBook().judge(market.target(200), inputs)
    said = verdict_attributes(refused)
    assert (said[spans.VERDICT], said[spans.REASON]) == ("REJECTED", refused.reason)
    assert said[spans.RULE] == "order_quantity"
    assert said[spans.MESSAGE] == refused.message


def test_a_decision_is_noted_for_the_span_of_its_record(market) -> None:
    """The consumer records it: its id is the one under which the verdict is published; one that waits has another."""
    decisions, tracer, recorded = traced()
    book, inputs = RiskBook(), market.inputs()
    first, second = market.target(100), market.target(200)
    verdicts = [verdict for one in (first, second) for verdict in book.judge(one, inputs)]
    decisions.judged([first, second], verdicts, list(book.waiting([first, second])), decisions.began())
    span_id, said = tracer.noted(first.signal_id)
    assert (span_id, said[spans.VERDICT]) == (spans.judged(first.signal_id), "APPROVED")
    assert tracer.noted(second.signal_id) == (
        spans.waited(second.signal_id),
        {spans.VERDICT: "WAITING"},
    )
    assert recorded == []


def test_a_signal_that_waited_is_decided_in_its_own_trace(market) -> None:
    """The later target replaces the waiting one, whose verdict is a span under the one in which it began to wait."""
    decisions, _, recorded = traced()
    book, inputs = RiskBook(), market.inputs()
    first, waiting, newest = (market.target(units) for units in (100, 200, 300))
    for one in (first, waiting):
        book.judge(one, inputs)
    verdicts = book.judge(newest, inputs)
    decisions.judged([newest], verdicts, list(book.waiting([newest])), decisions.began())
    (span,) = recorded
    trace_id = ids.trace_id(waiting.correlation_id)
    assert (span.name, span.kind) == ("decide signal", Kind.INTERNAL)
    assert span.context == (trace_id, spans.judged(waiting.signal_id))
    assert span.parent == (trace_id, spans.waited(waiting.signal_id))
    assert span.attributes[spans.REASON] == "SUPERSEDED"


def test_an_authorised_order_is_decided_under_the_call(market) -> None:
    """A manual order's verdict is a span of its own, under the call that asks for it."""
    decisions, _, recorded = traced()
    signal = market.target(100)
    (verdict,) = RiskBook().judge(signal, market.inputs())
    before = current_span.set(CurrentSpan(ids.trace_id(signal.correlation_id), "00000000000000e1"))
    try:
        decisions.authorised(verdict, decisions.began())
    finally:
        current_span.reset(before)
    (span,) = recorded
    assert span.parent == (ids.trace_id(signal.correlation_id), "00000000000000e1")
    assert span.context.span_id == spans.judged(signal.signal_id)
