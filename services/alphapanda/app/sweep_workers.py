"""Runs a sweep's sets on all cores: the frames are read once, and forked workers share them."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from ctypes import Array, c_double
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray
from typing import Final

from alphapanda.app.replay import ReplayRun
from alphapanda.app.sweep import GROUP, SweptSet, run_sets
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame
from alphapanda.replay.sweep.ranking import SetResult

LOOK_SECONDS: Final = 0.2
_SECONDS_AFTER_STOP: Final = 5.0


@dataclass(frozen=True, slots=True)
class SweepJob:
    """What workers get from their parent when they are forked.

    Attributes:
        run: what the sweep is over.
        frames: returns the frames, each time from the first one on.
        count: number of frames.
        groups: the sets by group; a group shares a pass.
        done: by group, the frames that it has handled, times its sets.
    """

    run: ReplayRun
    frames: Callable[[], Iterable[Frame]]
    count: int
    groups: Sequence[Sequence[SweptSet]]
    done: Array[c_double]


_job: SweepJob | None = None
"""The worker's own, set when it is forked."""


def grouped(sets: Sequence[SweptSet], workers: int) -> list[list[SweptSet]]:
    """Sets by group: of one size, at most GROUP, and at least one group a worker."""
    groups = max(min(workers, len(sets)), -(-len(sets) // GROUP))
    return [list(sets[number::groups]) for number in range(groups)]


def swept(
    run: ReplayRun,
    sets: Sequence[SweptSet],
    frames: Callable[[], Iterable[Frame]],
    count: int,
    workers: int,
    on_progress: Callable[[float], None],
) -> tuple[list[SetResult], float]:
    """Runs sets on several cores.

    Args:
        run: what the sweep is over.
        sets: the sets.
        frames: returns the frames, each time from the first one on.
        count: number of frames.
        workers: most processes at once; 1: none besides this one.
        on_progress: called with the share that is done, 0 to 1, several times a second.

    Returns:
        The results in the order of the sets, and the workers' processor time in seconds.

    Raises:
        InvalidInput: a set can't be run, or a worker was ended from outside.
    """
    groups = grouped(sets, workers)
    done = RawArray(c_double, len(groups))
    job = SweepJob(run, frames, count, groups, done)
    whole = max(1, count * len(sets))
    if workers == 1:
        _begin(job, alone=True)
        results = []
        for number in range(len(groups)):
            results += _run_group(number, lambda: on_progress(sum(done) / whole))
        return sorted(results, key=_number), 0.0
    before = _children_seconds()
    with _pool(job, min(workers, len(groups))) as pool:
        futures: list[Future[list[SetResult]]] = [
            pool.submit(_run_group, number) for number in range(len(groups))
        ]
        left: set[Future[list[SetResult]]] = set(futures)
        while left:
            finished, left = wait(left, timeout=LOOK_SECONDS)
            for each in finished:
                each.result()
            on_progress(sum(done) / whole)
        results = [result for each in futures for result in each.result()]
    return sorted(results, key=_number), _children_seconds() - before


@contextmanager
def _pool(job: SweepJob, workers: int) -> Iterator[ProcessPoolExecutor]:
    """Workers that have the job; they are ended at once when the parent gives up."""
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("fork"), initializer=_begin, initargs=(job,)
    )
    try:
        yield pool
    except BrokenProcessPool:
        _end(pool)
        raise InvalidInput(
            "--workers", workers, "fewer: a worker was ended from outside, most likely for want of memory"
        ) from None
    except BaseException:
        _end(pool)
        raise
    pool.shutdown()


def _end(pool: ProcessPoolExecutor) -> None:
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in multiprocessing.active_children():
        worker.kill()
        worker.join(_SECONDS_AFTER_STOP)


def _begin(job: SweepJob, *, alone: bool = False) -> None:
    global _job  # noqa: PLW0603 - what a forked worker has of its parent
    _job = job
    if not alone:
        # Ctrl-C reaches the whole group of processes; the parent ends its workers.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_group(number: int, on_part: Callable[[], None] | None = None) -> list[SetResult]:
    job = _job
    if job is None:
        raise RuntimeError("a worker without a job")
    sets, parent = job.groups[number], os.getppid()

    def handled(frames: int) -> None:
        job.done[number] = frames * len(sets)
        if on_part is not None:
            on_part()
        elif os.getppid() != parent:
            os._exit(1)  # the parent was killed: nobody waits for this

    return run_sets(job.run, sets, job.frames(), handled)


def _number(result: SetResult) -> int:
    return result.number


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
