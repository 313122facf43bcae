"""Reading a large file of bars whose days are in no order, against pandas.read_csv and a sort."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from tests.bench.figures import Figure

ROUNDS = int(os.environ.get("BENCH_SIDE_ROUNDS", "3"))
ROWS = int(os.environ.get("BENCH_ROWS", "10000000"))
MINUTES = 375
MIB = 1024


def measure() -> list[Figure]:
    """Each side in a process of its own, by its processor time; the medians."""
    with tempfile.TemporaryDirectory() as folder:
        in_order, shuffled = Path(folder) / "in_order.csv", Path(folder) / "shuffled.csv"
        days = [date(2000, 1, 3) + timedelta(days=at) for at in range(ROWS // MINUTES)]
        _write(in_order, days)
        random.Random(1).shuffle(days)
        _write(shuffled, days)
        runs = {
            (side, file.stem): [_run(side, file) for _ in range(ROUNDS)]
            for side in ("alphapanda", "pandas")
            for file in (in_order, shuffled)
        }
    return [figure for name in ("in_order", "shuffled") for figure in _figures(name, runs)]


def _figures(name: str, runs: dict[tuple[str, str], list[dict[str, float]]]) -> list[Figure]:
    def of(side: str, value: str) -> float:
        return median(run[value] for run in runs[side, name])

    rows = f"{of('alphapanda', 'rows') / 1e6:.1f}M rows {name.replace('_', ' ')}"
    ours, theirs = of("alphapanda", "seconds"), of("pandas", "seconds")
    mine, other = of("alphapanda", "peak_kib") / MIB, of("pandas", "peak_kib") / MIB
    return [
        Figure(
            *("reading", f"{rows}: read, put in order, each bar once; against pandas.read_csv and sort"),
            *(f"{ours:.1f} s", f"{theirs:.1f} s", theirs / ours, "", None, "processor time"),
        ),
        Figure("reading", f"{rows}: made into ticks", f"{of('alphapanda', 'tick_seconds'):.1f} s"),
        Figure(
            *("reading", f"{rows}: most memory", f"{mine:,.0f} MiB", f"{other:,.0f} MiB", other / mine),
            note="with the libraries; ours has a bound",
        ),
    ]


def _write(file: Path, days: list[date]) -> None:
    times = [f"{9 + (15 + at) // 60:02}:{(15 + at) % 60:02}:00" for at in range(MINUTES)]
    with file.open("w") as out:
        out.write("datetime,open,high,low,close,volume\n")
        for day in days:
            prices = random.Random(day.toordinal()).choices(range(100_000, 200_000), k=MINUTES)
            out.writelines(
                f"{day} {time},{price / 100:.2f},{price / 100 + 1:.2f},{price / 100 - 1:.2f},{price / 100:.2f},{price % 997}\n"
                for time, price in zip(times, prices, strict=True)
            )


def _run(side: str, file: Path) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.reading_side", side, str(file)]
    told: dict[str, float] = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )
    return told
