"""What services report of their work while they do it: latencies of an order's stages, outcomes, duplicates.

The rooms see only the `Figures` protocol; where metrics are switched off they get `NOT_MEASURED`, which does nothing. A label is
never a strategy or an instrument: their number is the users'.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

MOST_STARTS: Final = 10_000
"""Beginnings of stages that are remembered; beyond them the oldest is forgotten, and its latency isn't measured."""


class Stage(StrEnum):
    """A stage between a tick and the rupee it moved; the value is the name of its histogram."""

    TICK_TO_SIGNAL = "tick_to_signal"
    """From the frame's publication to the log's acknowledgement of the signal."""
    SIGNAL_TO_VERDICT = "signal_to_verdict"
    """From the making of a signal to the commit of risk's verdict on it."""
    VERDICT_TO_ORDER = "verdict_to_order"
    """From the making of an approval to the commit of its order."""
    ORDER_TO_FILL = "order_to_fill"
    """From the decision to send an order to the commit of its first fill."""
    FILL_TO_BOOKED = "fill_to_booked"
    """From the making of a fill's event to the commit of its ledger entries."""


class Outcome(StrEnum):
    """Outcome of a verdict."""

    APPROVED = "approved"
    REFUSED = "refused"


class Figures(Protocol):
    """Receives what services report. Called on the way of an order: no I/O, and nothing is awaited."""

    def passed(self, stage: Stage, broker: str, seconds: float, correlation_id: str) -> None:
        """Reports how long a stage took; `correlation_id` names the trace that may be shown as an example."""

    def absorbed(self, service: str, broker: str, duplicates: int) -> None:
        """Reports inputs that came again and had no second effect."""

    def decided(self, broker: str, outcome: Outcome, reason: str) -> None:
        """Reports a verdict; `reason` is empty for an approval."""

    def ended(self, broker: str, status: str, reason: str) -> None:
        """Reports an order that has ended; `reason` is empty where it didn't fail."""

    def handled(self, consumer: str, seconds: float) -> None:
        """Reports how long the handler of a consumer took for a batch."""


class _NotMeasured:
    """Does nothing."""

    def passed(self, stage: Stage, broker: str, seconds: float, correlation_id: str) -> None:
        """Does nothing."""

    def absorbed(self, service: str, broker: str, duplicates: int) -> None:
        """Does nothing."""

    def decided(self, broker: str, outcome: Outcome, reason: str) -> None:
        """Does nothing."""

    def ended(self, broker: str, status: str, reason: str) -> None:
        """Does nothing."""

    def handled(self, consumer: str, seconds: float) -> None:
        """Does nothing."""


NOT_MEASURED: Final[Figures] = _NotMeasured()


class StartTimes:
    """When stages that are under way began, in seconds of one clock, by id; the oldest are forgotten beyond a bound.

    Args:
        most: how many are remembered.
    """

    def __init__(self, most: int = MOST_STARTS) -> None:
        self._most = most
        self._began: OrderedDict[str, float] = OrderedDict()

    def note(self, what: str, seconds: float) -> None:
        """Notes when a stage began; a later note of the same id changes nothing."""
        self._began.setdefault(what, seconds)
        if len(self._began) > self._most:
            self._began.popitem(last=False)

    def take(self, what: str) -> float | None:
        """Returns when a stage began, and forgets it; None where that isn't known."""
        return self._began.pop(what, None)


class Gauge(NamedTuple):
    """A figure as of now: name, unit and what it says."""

    name: str
    unit: str
    description: str
    labels: tuple[str, ...] = ()


class Point(NamedTuple):
    """One value of a gauge, with the values of its labels."""

    gauge: Gauge
    value: float
    labels: Sequence[str] = ()

    @property
    def attributes(self) -> Mapping[str, str]:
        """The labels by name."""
        return dict(zip(self.gauge.labels, self.labels, strict=True))
