"""`python -m tests.bench [P6 P9 …]`: measures, prints a table, writes JSON into .tools/bench/results."""

from __future__ import annotations

import argparse
import json
import platform
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.bench.figures import Figure

BENCHMARKS = {
    "P1": "tests.bench.p1_backlog",
    "P2": "tests.bench.p2_tick_to_fill",
    "P3": "tests.bench.p3_under_load",
    "P5": "tests.bench.p5_quotes",
    "P6": "tests.bench.p6_replay",
    "P7": "tests.bench.p7_telemetry",
    "P8": "tests.bench.p8_serve_start",
    "P9": "tests.bench.p9_strategy_memory",
    "P10": "tests.bench.p10_two_strategy_processes",
    "P12": "tests.bench.p12_first_fill",
}
RESULTS = Path(".tools/bench/results")


def main() -> None:
    """Runs what is asked for, in the card's order; all of it where nothing is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all by default"
    )
    names = parser.parse_args().names
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"NAME: {unknown[0]!r} is no benchmark; allowed: {', '.join(BENCHMARKS)}")
    console = Console(width=None if Console().is_terminal else 150)
    figures: list[Figure] = []
    for name in names or BENCHMARKS:
        console.print(f"[bold]{name}[/bold] is being measured …", highlight=False)
        figures += import_module(BENCHMARKS[name]).measure()
    console.print(_table(figures))
    at = datetime.now(UTC)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{at:%Y%m%dT%H%M%SZ}.json"
    document = {
        "at": at.isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "figures": [figure._asdict() for figure in figures],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {path}", highlight=False)


def _table(figures: list[Figure]) -> Table:
    table = Table()
    for heading in ("", "what", "ours", "peer", "ratio", "bar", "reached", "note"):
        table.add_column(heading, justify="right" if heading in {"ours", "peer", "ratio"} else "left")
    for figure in figures:
        reached = (
            "" if figure.reached is None else "[green]yes[/green]" if figure.reached else "[red]no[/red]"
        )
        table.add_row(
            *(figure.card, figure.what, figure.ours, figure.peer),
            *("" if figure.ratio is None else f"{figure.ratio:.2f}", figure.bar, reached, figure.note),
        )
    return table


if __name__ == "__main__":
    main()
