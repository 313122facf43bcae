"""P6: replay against other backtesters, the same ticks and the same flips on every side."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import median

from tests.bench.figures import Figure

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SIDE_ROUNDS = int(os.environ.get("BENCH_SIDE_ROUNDS", str(ROUNDS)))
TICKS = 100_000
MANY_TICKS = 1_000_000
PEERS = {"nautilus_trader": 25.0, "backtrader": 10.0, "vnpy": 0.2}
ENVIRONMENTS = Path(".tools/bench")
SCRIPTS = Path(__file__).parent / "peers"
FIRST_SESSION = "2024-01-{day:02}T09:15:00+05:30"
# A session's day, ten times; the ticks of one end before the MIS cut-off, so that no side squares off.
DAYS = (2, 3, 4, 5, 8, 9, 10, 11, 12, 15)
STEP_NS = 200_000_000


def measure() -> list[Figure]:
    """Rounds in which every side runs once, in a process of its own; the medians."""
    with tempfile.TemporaryDirectory() as folder:
        walk, rising, long_walk = (Path(folder) / name for name in ("walk", "rising", "long_walk"))
        walk.write_bytes(_walk(TICKS).tobytes())
        rising.write_bytes(_rising(TICKS).tobytes())
        long_walk.write_bytes(_walk(MANY_TICKS).tobytes())
        sides = {"alphapanda": [sys.executable, "-m", "tests.bench.replay_side"]}
        missing = []
        for peer in PEERS:
            python = ENVIRONMENTS / peer / "bin" / "python"
            if python.exists():
                sides[peer] = [str(python), "-W", "ignore", str(SCRIPTS / f"{peer}_run.py")]
            else:
                missing.append(peer)
        runs: dict[tuple[str, Path], list[tuple[int, float]]] = {}
        for number in range(ROUNDS):
            for side, command in sides.items():
                for ticks in (walk, rising) if number < SIDE_ROUNDS else (walk,):
                    runs.setdefault((side, ticks), []).append(_run(command, ticks))
            if number < SIDE_ROUNDS:
                runs.setdefault(("alphapanda", long_walk), []).append(_run(sides["alphapanda"], long_walk))
        records = median(
            _run([sys.executable, "-m", "tests.bench.records_side"], walk)[1] for _ in range(ROUNDS)
        )
    result = {key: (told[0][0], median(seconds for _, seconds in told)) for key, told in runs.items()}
    orders, ours = result["alphapanda", walk]
    limit = Figure(
        *("P6", "the limit: the records of the same orders made again, nothing decided", f"{records:.3f} s"),
        peer=f"{ours:.3f} s",
        ratio=records / ours,
        note=f"{records / orders * 1e6:.0f} us an order; the ratio is their share of our time, ticks included",
    )
    return [*_figures(result, list(sides), missing, walk, rising, long_walk), limit]


def _figures(
    result: dict[tuple[str, Path], tuple[int, float]],
    sides: Sequence[str],
    missing: Sequence[str],
    walk: Path,
    rising: Path,
    long_walk: Path,
) -> list[Figure]:
    orders, ours = result["alphapanda", walk]
    figures = []
    for peer in sides[1:]:
        peer_orders, theirs = result[peer, walk]
        same = peer_orders == orders
        figures.append(
            Figure(
                card="P6",
                what=f"{TICKS:,} ticks, {orders:,} orders; against {peer}",
                ours=f"{ours:.3f} s",
                peer=f"{theirs:.3f} s",
                ratio=theirs / ours,
                bar=f">= {PEERS[peer]:g}x",
                reached=same and theirs / ours >= PEERS[peer],
                note="same order count" if same else f"NOT COMPARABLE: {peer_orders:,} orders there",
            )
        )
    for peer in missing:
        note = "not installed: make bench-peers"
        figures.append(
            Figure("P6", f"against {peer}", f"{ours:.3f} s", bar=f">= {PEERS[peer]:g}x", note=note)
        )
    for side in sides:
        (count, flipping), (_, quiet) = result[side, walk], result[side, rising]
        figures.append(
            Figure(
                card="P6",
                what=f"{side}: a tick; an order",
                ours=f"{quiet / TICKS * 1e6:.2f} us; {(flipping - quiet) / count * 1e6:.0f} us",
                note="a tick: the same number of ticks, one order, a position held",
            )
        )
    _, many = result["alphapanda", long_walk]
    ratio = many / ours
    figures.append(
        Figure(
            *("P6", f"{MANY_TICKS:,} ticks against {TICKS:,}", f"{many:.3f} s", f"{ours:.3f} s"),
            *(ratio, "<= 11x", ratio <= 11, "ten sessions, square-offs between them"),
        )
    )
    return figures


def _run(command: Sequence[str], ticks: Path) -> tuple[int, float]:
    done = subprocess.run([*command, str(ticks)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr[-2000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    return told["orders"], told["seconds"]


def _times(ticks: int) -> list[int]:
    times: list[int] = []
    for day in DAYS:
        opened = int(datetime.fromisoformat(FIRST_SESSION.format(day=day)).timestamp()) * 10**9
        times += range(opened, opened + min(TICKS, ticks - len(times)) * STEP_NS, STEP_NS)
    return times


def _walk(ticks: int) -> array[int]:
    """Times, then prices in paise: a seeded walk of the tick size, 0.05 rupees."""
    chance = random.Random(7)
    price, prices = 20_000, []
    for _ in range(ticks):
        price = max(1_000, price + chance.choice((-5, 0, 5)))
        prices.append(price)
    return array("q", _times(ticks) + prices)


def _rising(ticks: int) -> array[int]:
    """The same with prices that only rise: long once, then never a flip."""
    return array("q", _times(ticks) + [20_000 + n // 10 for n in range(ticks)])
