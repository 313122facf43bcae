"""Measures decisions: from a signal to its verdict, verdicts by reason, and signals that were decided before."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from alphapanda.domain.verdict import Approved, Verdict
from alphapanda.telemetry.figures import NOT_MEASURED, Figures, Outcome, Stage, StartTimes

SERVICE: Final = "risk"


class DecisionFigures:
    """Reports verdicts and the latencies of signals that came by topic.

    Args:
        figures: receives them.
        wall_clock: wall time, seconds since 1970.
    """

    def __init__(self, figures: Figures = NOT_MEASURED, wall_clock: Callable[[], float] = time.time) -> None:
        self._figures = figures
        self._wall_clock = wall_clock
        self._made = StartTimes()

    def came(self, signal_id: str, made_at: float) -> None:
        """Notes a signal that has come; `made_at`: wall time of its event, seconds since 1970."""
        self._made.note(signal_id, made_at)

    def decided(self, verdict: Verdict) -> None:
        """Reports a verdict after its commit."""
        broker = verdict.key.broker
        if isinstance(verdict, Approved):
            self._figures.decided(broker, Outcome.APPROVED, "")
        else:
            self._figures.decided(broker, Outcome.REFUSED, verdict.reason)
        made_at = self._made.take(verdict.signal_id)
        if made_at is not None:
            seconds = self._wall_clock() - made_at
            self._figures.passed(Stage.SIGNAL_TO_VERDICT, broker, seconds, verdict.correlation_id)

    def left(self, signal_id: str) -> None:
        """Forgets a signal that got no verdict now."""
        self._made.take(signal_id)

    def absorbed(self, broker: str, duplicates: int) -> None:
        """Reports signals that had a verdict already, and order events that were applied before."""
        if duplicates:
            self._figures.absorbed(SERVICE, broker, duplicates)
