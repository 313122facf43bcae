"""`python -m tests.bench [P6 P9 …]`: measures, prints a table beside the last kept run, writes JSON into .tools/bench/results."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.bench.figures import Figure
from tests.bench.kept_runs import compared, document, keep, kept

BENCHMARKS = {
    "P1": "tests.bench.p1_backlog",
    "P2": "tests.bench.p2_tick_to_fill",
    "P3": "tests.bench.p3_under_load",
    "P4": "tests.bench.p4_cached_read",
    "P5": "tests.bench.p5_quotes",
    "P6": "tests.bench.p6_replay",
    "P7": "tests.bench.p7_telemetry",
    "P8": "tests.bench.p8_serve_start",
    "P9": "tests.bench.p9_strategy_memory",
    "P10": "tests.bench.p10_two_strategy_processes",
    "P11": "tests.bench.p11_kite_frames",
    "P12": "tests.bench.p12_first_fill",
    "P13": "tests.bench.p13_sweep",
    "P15": "tests.bench.p15_manual_orders",
    "reading": "tests.bench.reading",
    "P16": "tests.bench.p16_instruments",
}
RESULTS = Path(".tools/bench/results")
FAILED = "failed:"
SMALL = {
    "BENCH_ROUNDS": "3",
    "BENCH_SIDE_ROUNDS": "1",
    "BENCH_FRAMES": "1000",
    "BENCH_SAMPLES": "500",
    "BENCH_PEAK_SECONDS": "4",
    "BENCH_BLOCK": "100",
    "BENCH_ROWS": "1000000",
}
"""Sizes of the small form, unless the environment sets them: all of it within 15 minutes on two quiet cores."""


def main() -> None:
    """Runs what is asked for, in the card's order; all of it where nothing is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all by default"
    )
    parser.add_argument("--full", action="store_true", help="in full, an hour or more; by default small")
    parser.add_argument("--keep", action="store_true", help="keep the run in tests/bench/history")
    asked = parser.parse_args()
    names = asked.names
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"NAME: {unknown[0]!r} is no benchmark; allowed: {', '.join(BENCHMARKS)}")
    if not asked.full:
        for name, size in SMALL.items():
            os.environ.setdefault(name, size)
    console = Console(width=None if Console().is_terminal else 170)
    figures: list[Figure] = []
    for name in names or BENCHMARKS:
        console.print(f"[bold]{name}[/bold] is being measured …", highlight=False)
        began = time.monotonic()
        figures += _measured(name)
        minutes, seconds = divmod(round(time.monotonic() - began), 60)
        console.print(f"{name} took {minutes}:{seconds:02}", highlight=False)
    console.print(_table(figures))
    at = datetime.now(UTC)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{at:%Y%m%dT%H%M%SZ}.json"
    run = document(figures, at, full=asked.full)
    path.write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {path}", highlight=False)
    if asked.keep:
        console.print(f"kept as {keep(run, at)}", highlight=False)
    sys.exit(any(figure.note.startswith(FAILED) for figure in figures))


def _measured(name: str) -> list[Figure]:
    try:
        figures: list[Figure] = import_module(BENCHMARKS[name]).measure()
    except Exception as error:  # noqa: BLE001 - one that fails doesn't keep the others from being measured
        return [Figure(name, "", "", reached=False, note=f"{FAILED} {type(error).__name__}: {error}"[:500])]
    return figures


def _table(figures: list[Figure]) -> Table:
    before = kept()
    table = Table()
    for heading in ("", "what", "ours", "peer", "ratio", "kept", "bar", "reached", "note"):
        numbers = heading in {"ours", "peer", "ratio", "kept"}
        table.add_column(heading, justify="right" if numbers else "left")
    for figure in figures:
        reached = (
            "" if figure.reached is None else "[green]yes[/green]" if figure.reached else "[red]no[/red]"
        )
        table.add_row(
            *(figure.card, figure.what, figure.ours, figure.peer),
            *("" if figure.ratio is None else f"{figure.ratio:.2f}", compared(figure, before)),
            *(figure.bar, reached, figure.note),
        )
    return table


if __name__ == "__main__":
    main()
