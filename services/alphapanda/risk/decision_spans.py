"""The spans of risk's decisions: verdict, reason, and the rule that decided."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from alphapanda.domain import ids
from alphapanda.domain.signal import Signal
from alphapanda.domain.verdict import Approved, RuleOutcome, Verdict
from alphapanda.telemetry import spans
from alphapanda.telemetry.tracing import OFF, Attribute, Kind, SpanContext, Tracer, current_span

_DECIDING = {True: RuleOutcome.CLAMPED, False: RuleOutcome.FAILED}
"""By whether the signal was approved: the outcome of the rule that decided."""


class DecisionSpans:
    """Records decisions.

    A signal's is the span of its record, so it is noted for the consumer, which records that. A decision without a record of its own
    is a span here: on a manual order, on a signal that had waited, on one that a person discarded.

    Args:
        tracer: risk's tracer.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @property
    def on(self) -> bool:
        """Whether spans are recorded."""
        return self._tracer.on

    def began(self) -> int:
        """The time at which a decision begins; 0 where nothing is recorded."""
        return self._tracer.began()

    def judged(
        self, signals: Sequence[Signal], verdicts: Iterable[Verdict], waiting: Collection[str], began_ns: int
    ) -> None:
        """Notes the verdicts on signals for their consumer, and which of them wait; records those on older signals."""
        if not began_ns:
            return
        asked = {signal.signal_id for signal in signals}
        for verdict in verdicts:
            if verdict.signal_id in asked:
                self._tracer.note(
                    verdict.signal_id, spans.judged(verdict.signal_id), verdict_attributes(verdict)
                )
            else:
                self.released(verdict, began_ns)
        for signal_id in waiting:
            self._tracer.note(signal_id, spans.waited(signal_id), {spans.VERDICT: "WAITING"})

    def released(self, verdict: Verdict, began_ns: int) -> None:
        """Records the verdict on a signal that had waited for an open order."""
        self._decided(verdict, spans.waited(verdict.signal_id), began_ns)

    def discarded(self, verdict: Verdict, began_ns: int) -> None:
        """Records the verdict on a parked signal that a person discarded."""
        self._decided(verdict, spans.published(verdict.signal_id), began_ns)

    def authorised(self, verdict: Verdict, began_ns: int) -> None:
        """Records the verdict on a manual order, under the call that asked for it."""
        call = current_span.get()
        asks = None if call is None else call.context
        self._decided(verdict, "" if asks is None else asks.span_id, began_ns)

    def square_off_due(self, signals: Sequence[Signal], began_ns: int) -> None:
        """Records that the timer found positions to square off: the signals are published under it."""
        for signal in signals if began_ns else ():
            key = signal.key
            self._tracer.record(
                spans.SQUARE_OFF_DUE,
                Kind.INTERNAL,
                SpanContext(ids.trace_id(signal.correlation_id), spans.decided(signal.signal_id)),
                None,
                began_ns,
                {
                    spans.CORRELATION_ID: signal.correlation_id,
                    spans.SIGNAL_ID: signal.signal_id,
                    spans.BROKER: key.broker,
                    spans.ACCOUNT: key.account,
                    spans.STRATEGY_ID: key.strategy_id,
                    spans.INSTRUMENT_ID: key.instrument_id,
                },
            )

    def _decided(self, verdict: Verdict, parent: str, began_ns: int) -> None:
        if not began_ns:
            return
        trace_id, key = ids.trace_id(verdict.correlation_id), verdict.key
        self._tracer.record(
            spans.DECIDE_SIGNAL,
            Kind.INTERNAL,
            SpanContext(trace_id, spans.judged(verdict.signal_id)),
            SpanContext(trace_id, parent) if parent else None,
            began_ns,
            {
                spans.CORRELATION_ID: verdict.correlation_id,
                spans.SIGNAL_ID: verdict.signal_id,
                spans.BROKER: key.broker,
                spans.ACCOUNT: key.account,
                spans.STRATEGY_ID: key.strategy_id,
                spans.INSTRUMENT_ID: key.instrument_id,
                **verdict_attributes(verdict),
            },
        )


UNRECORDED: Final = DecisionSpans(OFF)
"""Records nothing."""


def verdict_attributes(verdict: Verdict) -> dict[str, Attribute]:
    """What a span says of a verdict."""
    approved = isinstance(verdict, Approved)
    attributes: dict[str, Attribute] = {spans.VERDICT: "APPROVED" if approved else "REJECTED"}
    if isinstance(verdict, Approved):
        attributes |= {spans.SIDE: verdict.side.name, spans.QUANTITY: verdict.quantity}
    else:
        attributes |= {spans.REASON: verdict.reason, spans.MESSAGE: verdict.message}
    decided = next((rule.rule for rule in verdict.rules if rule.outcome is _DECIDING[approved]), "")
    if decided:
        attributes[spans.RULE] = decided
    return attributes
