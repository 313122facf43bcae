"""Logs strategies' errors, and stops those that failed too often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from structlog.typing import FilteringBoundLogger

from alphapanda.domain import ids
from alphapanda.strategy.core.config import StrategyState
from alphapanda.strategy.partition import Halt, TickPartition
from alphapanda.strategy.store.port import Change, StoredStrategy, StrategyStore
from alphapanda.strategy.wire import SOURCE, changed_event


class FailedStrategies:
    """Tells of the strategies that failed on a partition, and stops them in the store.

    Args:
        store: strategy's store.
        wall_clock: returns the current wall time, aware.
        logger: logs failures and stops.
    """

    def __init__(
        self, store: StrategyStore, wall_clock: Callable[[], datetime], logger: FilteringBoundLogger
    ) -> None:
        self._store = store
        self._wall_clock = wall_clock
        self._logger = logger

    async def stop(self, partition: TickPartition) -> None:
        """Logs the strategies' errors, one line a strategy, and stops those that failed too often."""
        last = {failure.strategy_id: failure for failure in partition.failures}
        raised = Counter(failure.strategy_id for failure in partition.failures)
        partition.failures.clear()
        for strategy_id, failure in last.items():
            self._logger.error(
                "strategy.failed",
                strategy_id=strategy_id,
                revision=failure.revision,
                instrument_id=failure.instrument_id,
                frame_id=failure.frame_id,
                error=failure.error,
                errors=raised[strategy_id],
            )
        while partition.halts:
            halt = partition.halts[0]
            await self._store.change(halt.strategy_id, self._halted(halt))
            self._logger.error(
                "strategy.stopped", strategy_id=halt.strategy_id, revision=halt.revision, error=halt.why
            )
            partition.halts.pop(0)

    def _halted(self, halt: Halt) -> Callable[[StoredStrategy | None], Change | None]:
        def decide(stored: StoredStrategy | None) -> Change | None:
            if stored is None or stored.config.revision != halt.revision:
                return None  # it was changed meanwhile; that change wins
            config = replace(stored.config, state=StrategyState.STOPPED, revision=halt.revision + 1)
            note = f"stopped by {SOURCE}: {halt.why}; its open positions stay as they are"
            strategy = StoredStrategy(config, note, SOURCE, self._wall_clock())
            event_id = ids.output_id(SOURCE, ids.derived_id(halt.strategy_id, halt.revision), "halted")
            event = changed_event(
                strategy,
                event_id=event_id,
                correlation_id=halt.cause_id or event_id,
                causation_id=halt.cause_id,
            )
            return Change(strategy, event)

        return decide
