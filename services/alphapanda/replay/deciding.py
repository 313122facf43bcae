"""What a replay asks of its strategies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from alphapanda.domain.calendar import CalendarNotCovered
from alphapanda.domain.frame import Frame
from alphapanda.domain.frame_batch import FrameBatch
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.signal import Signal
from alphapanda.strategy.core.config import StrategyConfig
from alphapanda.strategy.core.watching import StrategyFailure


class AtTick(Protocol):
    """A target of a strategy at a tick of a batch."""

    @property
    def tick(self) -> int:
        """Index of the tick in the batch, from 0."""


class Deciding(Protocol):
    """The strategies of a replay: StrategyHost, or what stands in for it in a sweep. Its methods are documented there."""

    @property
    def unserved(self) -> Mapping[str, tuple[str, str]]:
        """The strategies whose interval can't be made from the bars: interval and why, by name."""

    @property
    def not_covered(self) -> CalendarNotCovered | None:
        """The error of the first day with ticks that the calendar doesn't cover."""

    def readers(self) -> Sequence[StrategyConfig]:
        """The strategies that read their position."""

    def on_frame(self, frame: Frame) -> Sequence[Signal]:
        """The signals at a frame."""

    def on_batch(self, batch: FrameBatch) -> Sequence[Any] | None:
        """The targets in a batch, each AtTick; None if its frames have to be handled one by one."""

    def signals_of(self, targets: Iterable[Any], frame: Frame, end: int) -> Sequence[Signal]:
        """The signals of targets at a frame."""

    def on_order(self, order: OrderState) -> bool:
        """Applies a new state of a strategy's order."""

    def take_failures(self) -> list[StrategyFailure]:
        """The strategies' failures since the last call."""
