"""P12: `make run` on a warm machine until its first fill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench.figures import Figure

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
BAR = 10.0
PATIENCE = 60.0
READY, FILL = "process.ready", "fill.reported"


@dataclass(frozen=True)
class Start:
    """Seconds from the command until the services answered, and until the first fill; between them the market moves."""

    ready: float
    fill: float


def measure() -> list[Figure]:
    """Each round runs it twice: on an empty data directory, and going on with what the first left."""
    fresh, again = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="alphapanda-bench-") as folder:
            data = Path(folder) / "data"
            fresh.append(_first_fill(data))
            again.append(_first_fill(data))
    return [
        _figure(what, starts)
        for what, starts in (("an empty data directory", fresh), ("going on with it", again))
    ]


def _figure(what: str, starts: Sequence[Start]) -> Figure:
    fills = [one.fill for one in starts]
    ready = median(one.ready for one in starts)
    return Figure(
        *("P12", f"make run to the first fill, {what}", f"{median(fills):.1f} s", "", median(fills)),
        *(f"<= {BAR:g} s", median(fills) <= BAR),
        f"of {len(starts)} runs, {min(fills):.1f} to {max(fills):.1f} s; the services answered after {ready:.1f} s,"
        " the rest is the wait for a strategy's flip",
    )


def _first_fill(data: Path) -> Start:
    began = time.perf_counter()
    running = subprocess.Popen(
        ["make", "--no-print-directory", "run", f"ARGS=--port 0 --data-dir {data}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    watchdog = threading.Timer(PATIENCE, os.killpg, (running.pid, signal.SIGTERM))
    watchdog.start()
    lines: list[str] = []
    ready = 0.0
    try:
        assert running.stdout is not None
        for line in running.stdout:
            lines.append(line)
            event = _event(line)
            if event == READY:
                ready = time.perf_counter() - began
            elif event == FILL:
                return Start(ready, time.perf_counter() - began)
        raise RuntimeError(f"no fill within {PATIENCE:g} s; it said at last:\n{''.join(lines[-20:])}")
    finally:
        watchdog.cancel()
        if running.poll() is None:
            # The process group is make's own, and holds nothing that was not started by it.
            os.killpg(running.pid, signal.SIGTERM)
        running.communicate(timeout=PATIENCE)


def _event(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    return str(entry.get("event")) if isinstance(entry, dict) else ""
