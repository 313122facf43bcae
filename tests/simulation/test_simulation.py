"""The short form of `make simulate`, and whether it is worth anything: planted bugs, and the same seed twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutations import PLANTED
from tests.simulation.scenario import run_seed
from tests.simulation.sweep import sweep

SEEDS = 240
"""What CI runs; a planted bug has to be found within them."""
ROOT = Path(__file__).resolve().parents[2]


def test_nothing_is_lost_or_done_twice_whatever_fails() -> None:
    """Crashes, freezes, lost answers, evictions and unclear brokers: every invariant holds under every seed."""
    outcomes = list(sweep(range(1, SEEDS + 1)))
    failed = {outcome.seed: [str(one) for one in outcome.violations] for outcome in outcomes if outcome.violations}
    assert not failed, f"replay with: make simulate SEED={min(failed)}\n{failed}"
    seen: set[str] = set().union(*(outcome.faults for outcome in outcomes))
    assert seen >= {
        "crash", "frozen", "lost", "answer lost", "arrives late", "evicted", "redelivery", "no clear answer",
    }  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_bug_is_found(planted: str) -> None:
    """The simulation finds each bug within the seeds that CI runs."""
    assert any(outcome.violations for outcome in sweep(range(1, SEEDS + 1), planted))


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
    outcome = next(outcome for seed in range(1, 100) if (outcome := run_seed(seed, planted)).violations)
    again = run_seed(outcome.seed, planted)
    assert again.trace == outcome.trace
    story = outcome.told()
    assert story == again.told()
    last = story.splitlines()[-1]
    assert last.startswith("VIOLATED  an intent is sent once: tag-")
    tag = last.split()[6]
    assert [line for line in story.splitlines() if f"exchange takes {tag}" in line and "outside" in line][1:]
