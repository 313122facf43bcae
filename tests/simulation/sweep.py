"""Many seeds on all cores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context

from tests.simulation.mutations import PLANTED
from tests.simulation.scenario import Outcome, run_seed
from tests.simulation.services import Parts

_BATCH = 5
_CORES = os.cpu_count() or 1


def workers() -> ProcessPoolExecutor:
    """A process a core, to be closed by the caller."""
    return ProcessPoolExecutor(_CORES, get_context("spawn"))


def sweep(pool: ProcessPoolExecutor, seeds: Sequence[int], planted: str = "") -> Iterator[Outcome]:
    """Runs seeds side by side; outcomes come without their stories, which the seeds tell again.

    Args:
        pool: who runs them.
        seeds: which.
        planted: the bug to run them with, a key of `mutations.PLANTED`; empty: the product as it is.
    """
    left = iter([seeds[at : at + _BATCH] for at in range(0, len(seeds), _BATCH)])
    running: set[Future[list[Outcome]]] = {
        pool.submit(_run, batch, planted) for batch in islice(left, _CORES + 1)
    }
    try:
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(_run, batch, planted) for batch in islice(left, len(done))}
            for finished in done:
                yield from finished.result()
    finally:
        for batch in running:
            batch.cancel()


def _run(seeds: Sequence[int], planted: str) -> list[Outcome]:
    parts = PLANTED[planted] if planted else Parts()
    return [run_seed(seed, parts).in_short() for seed in seeds]
