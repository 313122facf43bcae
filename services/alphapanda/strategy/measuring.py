"""Measures signals: from a frame's publication to the log's acknowledgement of what it led to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from alphapanda.contract.wire import seconds_of
from alphapanda.domain.signal import Signal
from alphapanda.telemetry.figures import NOT_MEASURED, Figures, Stage, StartTimes
from panda.events.v1.events_pb2 import Event

SERVICE: Final = "strategy"


class SignalFigures:
    """Reports the latencies of signals, and frames that came again. A frame that leads to no signal costs nothing.

    Args:
        figures: receives them.
        wall_clock: wall time, seconds since 1970.
    """

    def __init__(self, figures: Figures = NOT_MEASURED, wall_clock: Callable[[], float] = time.time) -> None:
        self._figures = figures
        self._wall_clock = wall_clock
        self._frames = StartTimes()

    def led_to_signals(self, frame: Event) -> None:
        """Notes a frame that led to signals, which aren't published yet."""
        self._frames.note(frame.event_id, seconds_of(frame.occurred_at))

    def published(self, signals: Sequence[Signal]) -> None:
        """Reports signals that the log has acknowledged."""
        now = self._wall_clock()
        began = {frame: self._frames.take(frame) for frame in {each.correlation_id for each in signals}}
        for each in signals:
            made_at = began[each.correlation_id]
            if made_at is not None:
                broker = each.key.broker
                self._figures.passed(Stage.TICK_TO_SIGNAL, broker, now - made_at, each.correlation_id)

    def came_again(self) -> None:
        """Reports a frame that was handled before."""
        self._figures.absorbed(SERVICE, "", 1)
