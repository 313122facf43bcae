"""`alphapanda replay --grid`: runs many sets of parameters over the same data, ranks them, tries them out of sample."""

from __future__ import annotations

import json
import resource
import time as wall
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

import click
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from alphapanda.app.assumptions import Writes, assumptions, data_recognised, plain
from alphapanda.app.collecting import collect_less
from alphapanda.app.replay import ReplayRun, WantedStrategy
from alphapanda.app.sweep import SweptSet, run_trials
from alphapanda.app.sweep_sets import require_few, sets_of
from alphapanda.app.sweep_workers import swept
from alphapanda.commands.console import err, out, warn, wide
from alphapanda.commands.data_told import tell_of_data
from alphapanda.commands.replay_report import symbols
from alphapanda.commands.sweep_options import SweepOptions
from alphapanda.commands.sweep_tables import ranking_table, trials_tables
from alphapanda.commands.wording import count, numbers, things
from alphapanda.domain.charges import merged
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame
from alphapanda.domain.number_text import rupees
from alphapanda.marketdata.core.data_account import counted
from alphapanda.replay.report.sweep_page import SweepReport, sweep_html
from alphapanda.replay.sweep.as_json import sweep_csv, sweep_json
from alphapanda.replay.sweep.grid import parse_grid
from alphapanda.replay.sweep.ranking import SetResult, best_of_days, days_of, ranked, require_measurable
from alphapanda.replay.sweep.trial import OutOfSample, Trial, out_of_sample
from alphapanda.replay.sweep.windows import WalkForward, parse_walk_forward
from alphapanda.strategy.core.registry import StrategyRegistry

HELD_FRAMES: Final = 2_000_000
"""Frames that are held in memory, about 1 GB; of more, every group of sets reads the files again."""
SHOWN_FAILURES: Final = 5
Progressing = Callable[[Iterable[Frame]], Iterable[Frame]]


class Build(Protocol):
    """Builds the replay of strategies over the files that were asked for."""

    def __call__(
        self, wanted: Sequence[WantedStrategy], *, each_alone: bool, tell: Callable[[str], None] = warn
    ) -> ReplayRun:
        """See build_replay."""


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What a sweep is over, beside its options.

    Attributes:
        files: the recording, for the report.
        wanted: the --sets.
        quantity: of a full position, where a grid gives none.
        product: name of the product.
        report: file of the report; None: none.
        as_json: whether to print JSON.
        allow_drops: whether to go on where data was not used.
    """

    files: Sequence[Path]
    wanted: Sequence[WantedStrategy]
    quantity: str
    product: str
    report: Path | None
    as_json: bool
    allow_drops: bool


def run_sweep(
    request: SweepRequest,
    options: SweepOptions,
    registry: StrategyRegistry,
    build: Build,
    reading: Callable[[ReplayRun], Any],
) -> None:
    """Runs the sweep and shows what came of it.

    Args:
        request: what was asked for.
        options: what was asked about the sweep.
        registry: the strategy types.
        build: builds a replay over the files.
        reading: makes a context that shows the progress of reading; it gives what frames are passed through.

    Raises:
        InvalidInput: a grid, a window or the data can't be used.
    """
    began, used = wall.perf_counter(), wall.process_time()
    measure = options.rank_by or "net_pnl"
    windows = parse_walk_forward(options.walk_forward) if options.walk_forward else None
    if windows is not None:
        require_measurable(measure, windows.train)
    wanted, left_out = _wanted(request, options, registry)
    if left_out:
        combinations = things(len(left_out), "combination can't be and is", "combinations can't be and are")
        warn(f"{combinations} left out, such as {left_out[0]}")
    if windows is not None and len(wanted) == 1:
        allowed = "with two sets or more to choose from: --grid 'TYPE:k=5,10', or --set twice"
        raise InvalidInput("--walk-forward", options.walk_forward, allowed)
    collect_less()
    run = build(wanted, each_alone=True)
    frames, number = _held(run, request, lambda: build(wanted[:1], each_alone=True, tell=_nothing), reading)
    sets = [
        SweptSet(place, config, dict(each.parameters))
        for place, (config, each) in enumerate(zip(run.strategies, wanted, strict=True))
    ]
    with _progress(len(sets)) as shown:
        results, workers_seconds = swept(run, sets, frames, number, options.processes, shown)
    ranking = ranked(results, measure)
    _warn_of_failures(ranking)
    tried = None if windows is None else _tried(run, windows, results, sets, measure, frames)
    entries = {
        **_counts(run),
        "assumptions": dict(_assumptions(run, results)),
        **sweep_json(ranking, measure, tried),
        "wall_seconds": round(wall.perf_counter() - began, 6),
        "processor_seconds": round(wall.process_time() - used + workers_seconds, 6),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    for caveat in run.days.caveats():
        warn(caveat)
    _tell_of_sets(wanted, options)
    if options.csv_file is not None:
        options.csv_file.write_text(sweep_csv(ranking), encoding="utf-8")
    if request.report is not None:
        page = _report(request, run, ranking, measure, tried)
        request.report.write_text(sweep_html(page), encoding="utf-8")
    if request.as_json:
        click.echo(json.dumps(entries, indent=2))
        return
    console = out if out.is_terminal else wide
    console.print(ranking_table(ranking, measure))
    if tried is not None:
        console.print(trials_tables(tried))
    seconds = f"{entries['wall_seconds']:.1f} s, {entries['processor_seconds']:.1f} s of processor time"
    sets_over = things(len(sets), "set", "sets")
    out.print(f"{sets_over} over {count(run.data.passed)} ticks in {seconds}")


def _nothing(_: str) -> None:
    """Says nothing again of what was recognised in the files."""


def _tell_of_sets(wanted: Sequence[WantedStrategy], options: SweepOptions) -> None:
    """Says what a sweep makes of strategies that no grid varies."""
    if len(wanted) == 1:
        warn("one set alone is tried, so there is nothing to rank; --grid 'TYPE:k=5,10' tries several")
    elif not options.grids and not options.each_alone:
        warn(f"{count(len(wanted))} sets are tried each alone, with cash of its own, as with --each-alone")


def _wanted(
    request: SweepRequest, options: SweepOptions, registry: StrategyRegistry
) -> tuple[list[WantedStrategy], list[str]]:
    grids = [parse_grid(text) for text in options.grids]
    require_few(grids, len(request.wanted), options.max_sets)
    wanted, left_out = list(request.wanted), []
    for grid in grids:
        more, not_allowed = sets_of(grid, registry, request.quantity, request.product)
        wanted += more
        left_out += not_allowed
    return wanted, left_out


def _held(
    run: ReplayRun, request: SweepRequest, again: Callable[[], ReplayRun], reading: Callable[[ReplayRun], Any]
) -> tuple[Callable[[], Iterable[Frame]], int]:
    """Reads all frames once; returns how to get them, each time from the first one on, and their number.

    Raises:
        DataNotUsed: too little of the data was used.
    """
    with reading(run) as shown:
        source = iter(shown(run.frames))
        held = list(islice(source, HELD_FRAMES))
        number = len(held)
        for number, _ in enumerate(source, HELD_FRAMES + 1):  # noqa: B007 - counts what isn't held
            held = []
    tell_of_data(run, allow_drops=request.allow_drops)
    if held or not number:
        return lambda: held, number
    return lambda: again().frames, number


def _tried(
    run: ReplayRun,
    windows: WalkForward,
    results: Sequence[SetResult],
    sets: Sequence[SweptSet],
    measure: str,
    frames: Callable[[], Iterable[Frame]],
) -> OutOfSample:
    days = days_of(results)
    windows.require_enough(days)
    trials = []
    for train, test, end in windows.windows(len(days)):
        chosen, measured = best_of_days(results, measure, train, test)
        trials.append(Trial(days[train], days[test - 1], days[test], days[end - 1], chosen, measured))
    configs = [sets[trial.chosen.number].config for trial in trials]
    journals = run_trials(run, trials, configs, frames())
    segments = {each.session_segment for each in run.watched}
    return out_of_sample(trials, journals, results[0].starting_cash, run.calendar, segments)


def _counts(run: ReplayRun) -> dict[str, Any]:
    return {
        "ticks": run.data.passed,
        "dropped": counted(run.data.dropped),
        "unused": counted(run.data.unused),
        "noted": counted(run.data.noted),
    }


def _assumptions(
    run: ReplayRun, results: Sequence[SetResult], writes: Writes = plain
) -> list[tuple[str, str]]:
    own = ("each set", "has an account of its own with the starting cash")
    caveats = run.days.caveats()
    calendar = [("calendar", "; ".join(caveats))] if caveats else []
    charged = merged([each.charges for each in results])
    return [*assumptions(run.settings, 1, charged, writes), own, *calendar]


def _report(
    request: SweepRequest,
    run: ReplayRun,
    ranking: Sequence[SetResult],
    measure: str,
    tried: OutOfSample | None,
) -> SweepReport:
    types = ", ".join(dict.fromkeys(each.strategy_type for each in ranking))
    indian = numbers.indian is not False
    counts = {name: value for name, value in _counts(run).items() if value}
    return SweepReport(
        title=f"{len(ranking)} sets of {types} on {symbols([each.symbol for each in run.watched])}",
        about=[
            *(("file", file.name) for file in request.files),
            *((name, _counted(value)) for name, value in counts.items()),
        ],
        assumptions=[
            *_assumptions(run, ranking, partial(rupees, indian=indian)),
            *data_recognised(run.data.recognised),
        ],
        ranking=ranking,
        measure=measure,
        tried=tried,
        indian=indian,
    )


def _counted(value: int | Mapping[str, int]) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count(number)}" for name, number in value.items())
    return count(value)


def _warn_of_failures(ranking: Sequence[SetResult]) -> None:
    failed = [each for each in ranking if each.failures]
    for each in failed[:SHOWN_FAILURES]:
        warn(f"{each.name}: {each.failures[0]}")
    if len(failed) > SHOWN_FAILURES:
        warn(f"{count(len(failed) - SHOWN_FAILURES)} more sets failed; --json has all")


@contextmanager
def _progress(sets: int) -> Iterator[Callable[[float], None]]:
    """Shows a progress bar on a terminal: the share that is done, and an estimate of the time left."""
    if not err.is_terminal:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, auto_refresh=False) as bar:
        task = bar.add_task(f"{sets:,} sets", total=1.0)

        def shown(share: float) -> None:
            bar.update(task, completed=share)
            bar.refresh()

        yield shown
