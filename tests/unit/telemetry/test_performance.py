"""Handlers that take long are told."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from alphapanda.consuming.delivery import Delivery
from alphapanda.consuming.slow_handlers import TimedHandler
from alphapanda.eventlog.port import StoredRecord
from alphapanda.resilience.failures import TransientFailure
from panda.events.v1.events_pb2 import Event

BATCH = [Delivery(Event(), "", StoredRecord("ticks", 0, 0, b"", b"", (), 0))] * 3


class Handler:
    """Takes its time, and may fail in the end."""

    def __init__(self, seconds: float, failure: Exception | None = None) -> None:
        self.seconds, self.failure = seconds, failure

    async def handle(self, batch) -> None:
        await asyncio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure


async def test_a_slow_batch_is_one_line() -> None:
    """A batch over the limit is told with its consumer, topic and size; a quick one isn't."""
    with capture_logs() as logs:
        await TimedHandler(Handler(0.06), "risk.signals", 0.05).handle(BATCH)
        await TimedHandler(Handler(0.0), "risk.signals", 0.05).handle(BATCH)
    (line,) = logs
    assert (line["event"], line["consumer"], line["topic"], line["records"]) == (
        "handler.was_slow",
        "risk.signals",
        "ticks",
        3,
    )
    assert line["duration_ms"] >= 50


async def test_a_slow_failure_is_told_and_passed_on() -> None:
    """What the handler raises reaches the consumer."""
    with capture_logs() as logs, pytest.raises(TransientFailure):
        await TimedHandler(Handler(0.06, TransientFailure("away")), "c", 0.05).handle(BATCH)
    assert len(logs) == 1
