"""P13: fifty sets of parameters over a year of one-minute bars, from the command line, against vectorbt: processor time."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

from tests.bench.figures import Figure

from alphapanda.domain.calendar import load_nse_calendar

ROUNDS = int(os.environ.get("BENCH_SIDE_ROUNDS", "3"))
SETS = 50
YEAR = 2025
PEER = Path(".tools/bench/vectorbt/bin/python")
SCRIPT = Path(__file__).parent / "peers" / "vectorbt_run.py"
IST = ZoneInfo("Asia/Kolkata")
SETTINGS = """[paper_trading]
slippage_percent = 0
charges = "percent"
commission_percent = 0.03
"""
_PROGRAM = "from alphapanda.cli import main; main()"


def measure() -> list[Figure]:
    """Rounds in which each side runs once, a process of its own with its start; the medians."""
    with tempfile.TemporaryDirectory(prefix="alphapanda-bench-") as folder:
        bars, settings = Path(folder) / "bars.csv", Path(folder) / "settings.toml"
        rows = _write_year(bars)
        settings.write_text(SETTINGS)
        ours, theirs, round_trips = [], [], 0
        for _ in range(ROUNDS):
            seconds, said = _run(_ours(bars, settings))
            ours.append(seconds)
            sets = json.loads(said)["sets"]
            if len(sets) != SETS:
                raise RuntimeError(f"{len(sets)} sets instead of {SETS}")
            round_trips = sum(one["figures"]["round_trips"] for one in sets)
            if PEER.exists():
                theirs.append(_run([str(PEER), "-W", "ignore", str(SCRIPT), str(bars)])[0])
    what = f"{SETS} sets of ema_cross over {rows:,} bars, {round_trips:,} round trips; processor time against vectorbt"
    about = "both fill at the close, pay 0.03 % and may spend ₹10,00,000; ours with risk, funds and a ledger for each set"
    if not theirs:
        return [
            Figure("P13", what, f"{median(ours):.1f} s", bar="<= 1x", note="not installed: make bench-peers")
        ]
    ratio = median(ours) / median(theirs)
    return [
        Figure(
            "P13", what, f"{median(ours):.1f} s", f"{median(theirs):.1f} s", ratio, "<= 1x", ratio <= 1, about
        )
    ]


def _ours(bars: Path, settings: Path) -> list[str]:
    grid = "ema_cross:fast=5..25:5,slow=30..120:10*100"
    command = [sys.executable, "-c", _PROGRAM, "replay", str(bars), "--instrument", "NSE:INFY", "--no-limits"]
    return [*command, "--fill", "close", "--config", str(settings), "--grid", grid, "--json"]


def _run(command: Sequence[str]) -> tuple[float, str]:
    """Processor seconds of a command with all its processes, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def _write_year(file: Path) -> int:
    """A year of bars: a walk in steps of 0.10 rupees, on every trading day from 09:15 to 15:29."""
    calendar, chance, price, rows = load_nse_calendar(), random.Random(7), 150_000, 0
    with file.open("w") as out:
        out.write("datetime_ist,open,high,low,close,volume\n")
        day = date(YEAR, 1, 1)
        while day.year == YEAR:
            for session in calendar.sessions(day, "NSE_EQ"):
                at, close = session.open.astimezone(IST), session.close
                while at < close:
                    opened, price = price, max(10_000, price + chance.choice((-20, -10, 0, 10, 20)))
                    prices = (opened, max(opened, price), min(opened, price), price)
                    out.write(
                        f"{at:%Y-%m-%d %H:%M:%S},{','.join(f'{each / 100:.2f}' for each in prices)},100\n"
                    )
                    at += timedelta(minutes=1)
                    rows += 1
            day += timedelta(days=1)
    return rows
