"""`make simulate`: seeds until one fails, or one seed with its story."""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tests.simulation.mutations import PLANTED
from tests.simulation.scenario import Outcome, run_seed
from tests.simulation.services import Parts
from tests.simulation.sweep import sweep, workers

_ENOUGH = 3


def main() -> int:
    """Returns how many seeds failed, 0 to 100."""
    asked = _arguments()
    console = Console(highlight=False, soft_wrap=True)
    if asked.seed is not None:
        outcome = run_seed(asked.seed, PLANTED[asked.planted] if asked.planted else Parts())
        console.print(outcome.told(), markup=False)
        console.print(f"seed {asked.seed}: {len(outcome.violations)} violations, trace {outcome.trace}")
        return min(len(outcome.violations), 100)
    if asked.traces:
        for seed in range(asked.first, asked.first + asked.seeds):
            console.print(f"{seed} {run_seed(seed).trace}")
        return 0
    return _sweep(asked, console)


def _sweep(asked: argparse.Namespace, console: Console) -> int:
    began = perf_counter()
    failed: list[Outcome] = []
    faults: Counter[str] = Counter()
    seeds = orders = calls = 0
    virtual = 0.0
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with workers() as pool, Progress(*columns, console=console) as progress:
        task = progress.add_task("seeds", total=asked.seeds)
        for outcome in sweep(pool, range(asked.first, asked.first + asked.seeds), asked.planted):
            progress.advance(task)
            seeds += 1
            orders += outcome.orders
            calls += outcome.calls
            virtual += outcome.virtual
            faults.update(outcome.faults)
            if outcome.violations:
                failed.append(outcome)
                if len(failed) >= _ENOUGH:
                    break
    took = perf_counter() - began
    for outcome in sorted(failed, key=lambda one: one.seed):
        console.print(
            f"\nseed {outcome.seed}:", *(f"\n  {violation}" for violation in outcome.violations), markup=False
        )
        console.print(f"  its story: make simulate SEED={outcome.seed}")
    console.print(
        f"{seeds} seeds from {asked.first} in {took:.0f} s ({seeds / took:.1f}/s): {orders} orders, {calls} broker calls,"
        f" {virtual / 3600:.0f} simulated hours, {len(failed)} failed"
    )
    console.print("faults: " + ", ".join(f"{count} {kind}" for kind, count in faults.most_common()))
    return min(len(failed), 100)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first; -1: by chance")
    parser.add_argument("--seed", type=int, help="this one alone, with its story")
    parser.add_argument("--planted", choices=sorted(PLANTED), default="", help="with this bug planted")
    parser.add_argument("--traces", action="store_true", help="print each seed's digest, in this process")
    asked = parser.parse_args()
    if asked.first < 0:
        asked.first = random.randrange(1_000_000, 1_000_000_000)
    return asked


if __name__ == "__main__":
    sys.exit(main())
