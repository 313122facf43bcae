"""`make night [ARGS="--faults 20 --seed 7 demo"]`: a hundred faults of all kinds under the demo, and a hundred under the mesh.

Prints what was survived; with --keep it stays in tests/bench/history/proofs.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "e2e"))
sys.path.append(str(Path(__file__).parents[2] / "tools" / "kafka"))

from cluster import Cluster
from kafka_server import missing_for_kafka
from nights import Demo, Mesh, Night, a_night
from rich.console import Console
from rich.table import Table

ON = ("demo", "mesh")
FAULTS = 100
PROOFS = Path("tests/bench/history/proofs")


def main() -> int:
    """Runs the nights that are asked for; 1 where one wasn't survived."""
    parser = argparse.ArgumentParser(prog="make night", description=__doc__)
    parser.add_argument("on", nargs="*", metavar="|".join(ON), help="both by default")
    parser.add_argument("--faults", type=int, default=FAULTS, metavar="N", help="on each platform")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--speed", default="20", help="market seconds a second, of the demo")
    parser.add_argument("--keep", action="store_true", help=f"keep the result in {PROOFS}")
    wanted = parser.parse_args()
    if unknown := [one for one in wanted.on if one not in ON]:
        parser.error(f"{unknown[0]!r} is not allowed; {' or '.join(ON)}")
    console = Console(width=None if Console().is_terminal else 150)
    if "demo" not in wanted.on and (missing := missing_for_kafka()):
        console.print(missing)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started ends with us
    console.print(f"{wanted.faults} faults, seed {wanted.seed}", highlight=False)
    nights = [_one(on, wanted.faults, wanted.seed, wanted.speed, console) for on in wanted.on or ON]
    for night in nights:
        console.print(_table(night))
        if night.wrong:
            console.print(f"[red]not survived[/red]: {night.wrong}", highlight=False)
    if wanted.keep:
        _keep(nights, wanted.faults, "-".join(wanted.on or ON))
    return int(any(night.wrong for night in nights))


def _one(on: str, faults: int, seed: int, speed: str, console: Console) -> Night:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="panda-")))
        sufferer: Demo | Mesh
        if on == "demo":
            sufferer = Demo(folder, seed, speed)
            stack.enter_context(sufferer.platform)
        else:
            sufferer = Mesh(stack.enter_context(Cluster(folder)), seed)
        sufferer.start()
        return a_night(sufferer, faults, seed, lambda line: console.print(line, highlight=False))


def _table(night: Night) -> Table:
    title = f"{night.on}: {night.faults} faults, {night.orders:,} orders, {night.seconds / 60:.0f} min, seed {night.seed}"
    table = Table(title=title)
    table.add_column("fault")
    for heading in ("times", "serving again, s", "an order after, s"):
        table.add_column(heading, justify="right")
    for name, kind in night.kinds.items():
        table.add_row(name, str(kind.times), _times(kind.again), _times(kind.trading))
    return table


def _times(seconds: list[float]) -> str:
    return f"{median(seconds):.1f} (max {max(seconds):.1f})" if seconds else ""


def _keep(nights: list[Night], faults: int, on: str) -> None:
    commit = subprocess.run(
        ("git", "rev-parse", "--short", "HEAD"), capture_output=True, text=True, check=True
    ).stdout.strip()
    at = datetime.now(UTC)
    PROOFS.mkdir(parents=True, exist_ok=True)
    document = {
        "at": at.isoformat(timespec="seconds"),
        "commit": commit,
        "python": platform.python_version(),
        "faults": faults,
        "nights": [asdict(night) for night in nights],
    }
    path = PROOFS / f"night-{on}-{at:%Y-%m-%d}-{commit}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
