"""P12: `make run` on a warm machine until its first fill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from tests.bench.figures import Figure

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
BAR = 10.0
PATIENCE = 60.0
FILL = "fill"


def measure() -> list[Figure]:
    """Each round runs it twice: on an empty data directory, and going on with what the first left."""
    fresh, again = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="alphapanda-bench-") as folder:
            data = Path(folder) / "data"
            fresh.append(_seconds_to_first_fill(data))
            again.append(_seconds_to_first_fill(data))
    return [
        Figure(
            *("P12", f"make run to the first fill, {what}", f"{median(took):.1f} s", "", median(took)),
            *(
                f"<= {BAR:g} s",
                median(took) <= BAR,
                f"of {ROUNDS} runs, {min(took):.1f} to {max(took):.1f} s",
            ),
        )
        for what, took in (("an empty data directory", fresh), ("going on with it", again))
    ]


def _seconds_to_first_fill(data: Path) -> float:
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
    try:
        assert running.stdout is not None
        for line in running.stdout:
            lines.append(line)
            if _is_fill(line):
                return time.perf_counter() - began
        raise RuntimeError(f"no fill within {PATIENCE:g} s; it said at last:\n{''.join(lines[-20:])}")
    finally:
        watchdog.cancel()
        if running.poll() is None:
            # The process group is make's own, and holds nothing that was not started by it.
            os.killpg(running.pid, signal.SIGTERM)
        running.communicate(timeout=PATIENCE)


def _is_fill(line: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and entry.get("event") == FILL
