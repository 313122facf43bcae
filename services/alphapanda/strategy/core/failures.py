"""What strategies did wrong, and the stop of those that did it too often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from alphapanda.domain.frame import Frame
from alphapanda.strategy.core.isolator import Isolated
from alphapanda.strategy.core.watching import Running, StrategyFailure, Watcher

DEFAULT_MAX_ERRORS = 5


class Failures:
    """Notes the failures of a host's strategies.

    Args:
        max_errors: number of errors in a row on one instrument after which a strategy is stopped.
        remove: removes a strategy that is stopped from its instruments.

    Attributes:
        frame: the frame being handled; None before the first.
        errors: errors raised, by strategy.
        unserved: by strategy that was stopped because its interval can't be made from the recorded bars: the interval,
            why, and what to do.
    """

    def __init__(self, max_errors: int, remove: Callable[[Running], None]) -> None:
        self._max_errors = max_errors
        self._remove = remove
        self._noted: list[StrategyFailure] = []
        self.frame: Frame | None = None
        self.errors: Counter[str] = Counter()
        self.unserved: dict[str, tuple[str, str]] = {}

    def take(self) -> list[StrategyFailure]:
        """The failures since the last call."""
        noted, self._noted = self._noted, []
        return noted

    def raised(self, watcher: Watcher, isolated: Isolated, error: Exception) -> None:
        """Notes an error of a strategy's code; one too many in a row stops the strategy."""
        running = watcher.running
        strategy_id = running.config.strategy_id
        self.errors[strategy_id] += 1
        stops = isolated.errors_in_a_row >= self._max_errors and not running.stopped
        self.note(watcher, f"{type(error).__name__}: {error}", isolated.errors_in_a_row, stops=stops)

    def note(self, watcher: Watcher, error: str, errors_in_a_row: int, *, stops: bool) -> None:
        """Records a failure; if it `stops` the strategy, removes the strategy from its instruments."""
        running = watcher.running
        if stops:
            running.stopped = True
            self._remove(running)
        self._noted.append(
            StrategyFailure(
                strategy_id=running.config.strategy_id,
                revision=running.config.revision,
                instrument_id=watcher.instrument.instrument_id,
                frame_id=self.frame.frame_id if self.frame else "",
                error=error,
                errors_in_a_row=errors_in_a_row,
                stopped=stops,
            )
        )
