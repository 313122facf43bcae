"""Measures handlers, and logs those that are slow."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import structlog

from alphapanda.consuming.delivery import Delivery, Handler
from alphapanda.telemetry.channels import SLOW_HANDLERS
from alphapanda.telemetry.figures import NOT_MEASURED, Figures

_log = structlog.get_logger(SLOW_HANDLERS)


class TimedHandler:
    """Wraps a handler, reports how long each batch took, and logs one that is slow, with its size and duration.

    Args:
        handler: the wrapped handler.
        consumer: name of its consumer, such as "risk.signals".
        slow_seconds: a batch that takes longer is logged.
        figures: receives the duration of each batch.
    """

    def __init__(
        self, handler: Handler, consumer: str, slow_seconds: float, figures: Figures = NOT_MEASURED
    ) -> None:
        self._figures = figures
        self._handler = handler
        self._consumer = consumer
        self._slow = slow_seconds

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Handles the batch."""
        began = perf_counter()
        try:
            await self._handler.handle(batch)
        finally:
            took = perf_counter() - began
            self._figures.handled(self._consumer, took)
            if took > self._slow:
                _log.warning(
                    "handler.was_slow",
                    consumer=self._consumer,
                    topic=batch[0].record.topic,
                    records=len(batch),
                    duration_ms=round(took * 1000, 1),
                )
