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

_BATCH = 10


def sweep(seeds: Sequence[int], planted: str = "", workers: int = 0) -> Iterator[Outcome]:
    """Runs seeds side by side, as the outcomes come; a story is kept only where something was violated.

    Args:
        seeds: which.
        planted: the bug to run them with, a key of `mutations.PLANTED`; empty: the product as it is.
        workers: processes; 0: one a core.
    """
    batches = [seeds[at : at + _BATCH] for at in range(0, len(seeds), _BATCH)]
    count = workers or os.cpu_count() or 1
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:
        running: set[Future[list[Outcome]]] = set()
        left = iter(batches)
        try:
            running |= {pool.submit(_run, batch, planted) for batch in islice(left, count + 1)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(_run, batch, planted) for batch in islice(left, len(done))}
                for batch in done:
                    yield from batch.result()
        finally:
            for batch in running:
                batch.cancel()


def _run(seeds: Sequence[int], planted: str) -> list[Outcome]:
    parts = PLANTED[planted] if planted else Parts()
    return [run_seed(seed, parts).in_short() for seed in seeds]
