"""Runs the sets of a sweep over the same frames: many in one pass, each with its own purse, books and limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from alphapanda.app.replay import ReplayRun, compose_replay, host_of
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame
from alphapanda.domain.frame_batch import FrameBatch
from alphapanda.domain.order_events import Filled
from alphapanda.replay.core import Replay
from alphapanda.replay.journal import ReplayJournal, day_batches, day_of
from alphapanda.replay.performance import performance
from alphapanda.replay.sweep.ranking import SetResult
from alphapanda.replay.sweep.shared import SetSignals, SharedStrategies, failures_by_set
from alphapanda.replay.sweep.trial import Trial
from alphapanda.strategy.core.config import StrategyConfig

GROUP: Final = 25
"""Sets that share a pass: enough to share the work, few enough for their fills in memory."""


@dataclass(frozen=True, slots=True)
class SweptSet:
    """A set of a sweep.

    Attributes:
        number: its place in the sweep, from 0.
        config: its strategy.
        parameters: those that were given, as text.
    """

    number: int
    config: StrategyConfig
    parameters: dict[str, str]


class Runner:
    """A replay of one set, and what it records.

    Args:
        run: what the sweep is over.
        config: the set's strategy.
        deciding: the set's part of a shared host; None: it has its own.
    """

    def __init__(self, run: ReplayRun, config: StrategyConfig, deciding: SetSignals | None = None) -> None:
        self._run = run
        own = deciding or host_of([config], run.settings, run.calendar, run.directory, run.registry)
        self.deciding = own
        self.replay: Replay = compose_replay(
            *([config], run.settings, run.calendar, run.directory, self._filled, run.registry, run.scoped),
            deciding=own,
        )
        tokens = [each.instrument_token for each in config.instruments]
        self.journal = ReplayJournal(lambda: self.replay.tracker, tokens)
        self._segments = {
            instrument.session_segment
            for token in tokens
            if (instrument := run.directory.by_token(token)) is not None
        }

    def handle(self, frames: Sequence[Frame], batch: FrameBatch | None) -> None:
        """Handles the frames of one batch."""
        self.journal.begin(frames)
        self.replay.handle(frames, batch)

    def result(self, swept: SweptSet) -> SetResult:
        """The result of the set; call it once, after the last frame."""
        self.journal.end()
        found = performance(
            self.journal,
            self.replay.starting_cash,
            self.replay.tracker.max_drawdown_fraction,
            self._run.calendar,
            self._segments,
            by_strategy=False,
        )
        failures = tuple(self.replay.strategy_failures())
        return SetResult(
            *(swept.number, swept.config.strategy_type, swept.parameters, found.figures),
            *(found.starting_cash, found.ends, failures, self.replay.statement().profit.lines),
        )

    def _filled(self, filled: Filled, realised: Decimal) -> None:
        self.journal.on_fill(filled, realised)


def run_sets(
    run: ReplayRun, sets: Sequence[SweptSet], frames: Iterable[Frame], on_part: Callable[[int], None]
) -> list[SetResult]:
    """Runs sets over frames, all in one pass.

    Args:
        run: what the sweep is over.
        sets: the sets.
        frames: the frames in their order.
        on_part: called with the number of frames handled, after each batch.

    Raises:
        InvalidInput: the interval of a strategy can't be made from the recorded bars, or the calendar has no data for a day.
    """
    reads_position = _reads_position(run, sets)
    sharing = {f"{each.number}": each for each in sets if not reads_position[each.number]}
    configs = [replace(each.config, strategy_id=name) for name, each in sharing.items()]
    host = host_of(configs, run.settings, run.calendar, run.directory, run.registry)
    shared = SharedStrategies(host, {name: each.config.strategy_id for name, each in sharing.items()})
    runners = {each.number: Runner(run, each.config, shared.sets.get(f"{each.number}")) for each in sets}
    handled = 0
    for many in day_batches(frames):
        batch = shared.decide(many)
        failures_by_set(host.take_failures(), shared.sets)
        for runner in runners.values():
            runner.handle(many, batch)
        handled += len(many)
        on_part(handled)
    for runner in runners.values():
        if runner.replay.not_covered is not None:
            raise InvalidInput("recording", runner.replay.not_covered.day, str(runner.replay.not_covered))
    return [runners[each.number].result(each) for each in sets]


def run_trials(
    run: ReplayRun, trials: Sequence[Trial], configs: Sequence[StrategyConfig], frames: Iterable[Frame]
) -> list[ReplayJournal]:
    """Runs sets on the days out of sample of their windows, in one pass; the days before only warm them up.

    Args:
        run: what the sweep is over.
        trials: the days of each.
        configs: the chosen strategy of each.
        frames: the frames of all days, in their order.

    Returns:
        What each has recorded on its days.
    """
    runners = [Runner(run, config) for config in configs]
    for many in day_batches(frames):
        day = day_of(many[0].market_time_ns)
        batch: FrameBatch | None = None
        for trial, config, runner in zip(trials, configs, runners, strict=True):
            if trial.first <= day < trial.test:
                _warm_up(runner, config, many)
            elif trial.test <= day <= trial.last:
                batch = batch or _joined(many)
                runner.handle(many, batch)
    for runner in runners:
        runner.journal.end()
    return [runner.journal for runner in runners]


def _warm_up(runner: Runner, config: StrategyConfig, frames: Sequence[Frame]) -> None:
    """Shows frames to a strategy; what it signals is dropped."""
    for frame in frames:
        runner.deciding.on_frame(frame)
    host = runner.deciding
    if not isinstance(host, SetSignals) and host.is_on_bars(config.strategy_id):
        host.forget_stance(config.strategy_id)


def _joined(frames: Sequence[Frame]) -> FrameBatch | None:
    try:
        return FrameBatch(frames)
    except ValueError:
        return None


def _reads_position(run: ReplayRun, sets: Sequence[SweptSet]) -> dict[int, bool]:
    """Whether a set's strategy reads its position, so that it can't share a host; by the sets' numbers."""
    by_type: dict[str, bool] = {}
    for each in sets:
        kind = each.config.strategy_type
        if kind not in by_type:
            host = host_of([each.config], run.settings, run.calendar, run.directory, run.registry)
            by_type[kind] = bool(host.readers())
    return {each.number: by_type[each.config.strategy_type] for each in sets}
