"""The short form of `make simulate`, and whether it is worth anything: planted bugs, and the same seed twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from tests.simulation.mutations import PLANTED
from tests.simulation.scenario import run_seed
from tests.simulation.sweep import sweep, workers

pytestmark = pytest.mark.timeout(600)

SEEDS = 200
"""What CI runs; a planted bug has to be found within them."""
FOUND_BY = Path(__file__).with_name("found_by.json")
"""A seed that found each planted bug once; tried first, for speed alone. `make test ARGS=--keep-durations` keeps new ones."""
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Processes to run seeds in."""
    with workers() as made:
        yield made


def test_nothing_is_lost_or_done_twice_whatever_fails(pool: ProcessPoolExecutor) -> None:
    """Crashes, freezes, lost answers, evictions and unclear brokers: every invariant holds under every seed."""
    outcomes = list(sweep(pool, range(1, SEEDS + 1)))
    failed = {
        outcome.seed: [str(one) for one in outcome.violations] for outcome in outcomes if outcome.violations
    }
    assert not failed, f"replay with: make simulate SEED={min(failed)}\n{failed}"
    seen: set[str] = set().union(*(outcome.faults for outcome in outcomes))
    assert seen >= {
        "crash", "frozen", "lost", "answer lost", "arrives late", "evicted", "redelivery", "no clear answer",
    }  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_bug_is_found(
    pool: ProcessPoolExecutor, planted: str, request: pytest.FixtureRequest
) -> None:
    """The simulation finds each bug within the seeds that CI runs."""
    known: dict[str, int] = json.loads(FOUND_BY.read_text())
    first = known.get(planted, 1)
    others = [seed for seed in range(1, SEEDS + 1) if seed != first]
    # One by itself: the pool takes seeds by the dozen, and ends what it has begun.
    finders = (
        outcome.seed
        for seeds in ([first], others)
        for outcome in sweep(pool, seeds, planted)
        if outcome.violations
    )
    found = next(finders, 0)
    assert found, f"none of {SEEDS} seeds finds it"
    if found == known.get(planted):
        return
    if request.config.getoption("keep_durations"):
        FOUND_BY.write_text(json.dumps(known | {planted: found}, indent=1) + "\n")
    else:
        warnings.warn(
            f"{planted!r} is found by seed {found}, no longer by {first}: `make test ARGS=--keep-durations` keeps that",
            stacklevel=1,
        )


def test_a_seed_does_the_same_in_every_process() -> None:
    """Two processes whose hashes differ tell the same story of the same seeds, to the byte."""
    told = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--traces", "--seeds", "8"],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hashes},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hashes in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(set(told[0].split())) == 16


def test_a_failing_seed_tells_its_story() -> None:
    """It names time, process, step, fault and effect, and ends with the invariant that was violated."""
    planted = PLANTED["an order that got no clear answer is sent again"]
    told = (run_seed(seed, planted) for seed in range(1, SEEDS + 1))
    outcome = next(
        one for one in told if any(v.invariant == "an intent is sent once" for v in one.violations)
    )
    story = outcome.told().splitlines()

    assert story == run_seed(outcome.seed, planted).told().splitlines()
    assert story[-1] == f"VIOLATED  {outcome.violations[-1]}"
    sent_twice = next(v.detail for v in outcome.violations if v.invariant == "an intent is sent once")
    tag, _, _ = sent_twice.partition(" ")
    assert len([line for line in story if f"exchange takes {tag} " in line and "outside" in line]) == 2
    unclear = ("!! no clear answer", "!! answer lost")
    assert any(f"place {tag} " in line and fault in line for line in story for fault in unclear)
