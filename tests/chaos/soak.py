"""`make soak [ARGS="--minutes 10"]`: an hour of many orders on one machine, PostgreSQL and Redis killed again and again.

Memory, file descriptors and threads of the process, lag and rows are sampled; what grows from the second quarter of the time to the last
is said, and the books are proven at the end. With --keep the result stays in tests/bench/history/proofs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "e2e"))
sys.path.append(str(Path(__file__).parents[2] / "tools" / "kafka"))

import asyncpg
import grpc
import psutil
from evidence import check_books, read_evidence
from nights import SYMBOLS, Demo
from rich.console import Console
from rich.table import Table
from running import create_and_start, until

from alphapanda.embedded.layout import Layout
from alphapanda.embedded.postgres_programs import DATABASE, USER
from panda.ops.v1.ops_pb2 import GetStatusRequest

MINUTES = 60.0
SAMPLE_SECONDS = 10.0
KILL_SECONDS = 120.0
MAY_GROW = 1.1
PROOFS = Path("tests/bench/history/proofs")
SETTINGS = {
    "ALPHAPANDA_PAPER_TRADING__STARTING_CASH": "1000000000",
    "ALPHAPANDA_STRATEGY__FOLDER": str(Path(__file__).parent / "strategies"),
    "ALPHAPANDA_STRATEGY__MAX_SIGNALS_PER_MINUTE": "100000",
    "ALPHAPANDA_RETENTION__REQUESTS_HOURS": "0.05",
    "ALPHAPANDA_RETENTION__OUTBOX_HOURS": "0.05",
    "ALPHAPANDA_RETENTION__LOOK_UPS_HOURS": "0.05",
    "ALPHAPANDA_RETENTION__INTERVAL_SECONDS": "30",
}
# Rows that are older than their retention and one round of deleting.
BEYOND = (
    "SELECT (SELECT count(*) FROM risk.outbox WHERE published_at < now() - interval '270 seconds')"
    " + (SELECT count(*) FROM trading.outbox WHERE published_at < now() - interval '270 seconds')"
    " + (SELECT count(*) FROM strategy.requests WHERE received_at < now() - interval '270 seconds')"
    " + (SELECT count(*) FROM paper_exchange.calls WHERE what = 'orders_by_tag' AND called_at < now() - interval '270 seconds')"
)


@dataclass(frozen=True)
class Sample:
    """The platform at a moment.

    Attributes:
        at: seconds since the beginning.
        memory: resident MiB of the process.
        descriptors: open files of the process.
        threads: of the process.
        lag: records not handled yet, over all groups.
        unpublished: rows of all outboxes.
        beyond: rows beyond their retention.
        orders: so far.
    """

    at: float
    memory: float
    descriptors: int
    threads: int
    lag: int
    unpublished: int
    beyond: int
    orders: int


def main() -> int:
    """Soaks; 1 where something grew, or the books don't add up."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--strategies", type=int, default=8, help="that trade every few ticks")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--keep", action="store_true", help=f"keep the result in {PROOFS}")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started ends with us
    console = Console(width=None if Console().is_terminal else 150)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="panda-")))
        demo = Demo(folder, wanted.seed, "1", SETTINGS)
        stack.enter_context(demo.platform)
        demo.platform.start()
        for number in range(wanted.strategies):
            create, start = create_and_start(
                f"soak.{number}", symbols=[SYMBOLS[number % len(SYMBOLS)]], quantity=1
            )
            create.strategy_type = "pulse"
            create.parameters.clear()
            create.parameters.update({"every": "1", "cycle": str(number % 3)})
            demo.platform.strategies.CreateStrategy(create)
            demo.platform.strategies.StartStrategy(start)
        samples, kills = _soak(
            demo, Layout((folder / "data").resolve()), wanted.minutes * 60, wanted.seed, console
        )
        demo.platform.come_to_rest(180.0)
        demo.platform.stop()
        evidence = read_evidence(demo.platform.data_dir)
        check_books(evidence)
    grown = growth(samples)
    rate = (samples[-1].orders - samples[0].orders) / (samples[-1].at - samples[0].at)
    console.print(
        _table(
            samples, grown, f"{wanted.minutes:g} min, {rate:.1f} orders/s, {kills} kills, seed {wanted.seed}"
        )
    )
    wrong = [name for name, ratio in grown.items() if ratio > MAY_GROW]
    if samples[-1].beyond:
        wrong.append(f"{samples[-1].beyond} rows beyond their retention")
    console.print(
        f"[red]grew[/red]: {', '.join(wrong)}" if wrong else "flat; the books add up", highlight=False
    )
    if wanted.keep:
        _keep(samples, grown, rate, kills, len(evidence.rows("orders")), wrong)
    return int(bool(wrong))


def _soak(
    demo: Demo, layout: Layout, seconds: float, seed: int, console: Console
) -> tuple[list[Sample], int]:
    chance, began, kills, next_kill = random.Random(seed), time.monotonic(), 0, KILL_SECONDS
    samples: list[Sample] = []
    while (at := time.monotonic() - began) < seconds:
        if at > next_kill and at < seconds - KILL_SECONDS:
            chance.choice([fault for kind, fault in demo.faults().items() if kind.endswith(" killed")])()
            kills, next_kill = kills + 1, at + KILL_SECONDS
            until(lambda: not demo.hindered(), 60, "everything serving after a kill")
        time.sleep(SAMPLE_SECONDS)
        with suppress(
            grpc.RpcError, OSError, asyncpg.PostgresError
        ):  # what was just killed is sampled the next time
            samples.append(_sample(demo, layout, at))
            if len(samples) % 30 == 1:
                console.print(str(samples[-1]), highlight=False)
    return samples, kills


def _sample(demo: Demo, layout: Layout, at: float) -> Sample:
    assert demo.platform.process is not None
    process = psutil.Process(demo.platform.process.pid)
    services = demo.platform.ops.GetStatus(GetStatusRequest(), timeout=10).services
    beyond, orders = asyncio.run(_asked(layout))
    return Sample(
        round(at, 1),
        round(process.memory_info().rss / 2**20, 1),
        process.num_fds(),
        process.num_threads(),
        sum(consumer.lag for one in services for consumer in one.consumers),
        sum(one.outbox_unpublished for one in services),
        beyond,
        orders,
    )


async def _asked(layout: Layout) -> tuple[int, int]:
    lines = (layout.postgres_cluster / "postmaster.pid").read_text().splitlines()
    connection = await asyncpg.connect(host=lines[4], port=int(lines[3]), user=USER, database=DATABASE)
    try:
        return await connection.fetchval(BEYOND), await connection.fetchval(
            "SELECT count(*) FROM trading.orders"
        )
    finally:
        await connection.close()


def growth(samples: list[Sample]) -> dict[str, float]:
    """The median of the last quarter over that of the second, by figure; a figure near nothing counts as its bound."""
    quarter = max(1, len(samples) // 4)
    second, last = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
    least = {"memory": 1.0, "descriptors": 1.0, "threads": 1.0, "lag": 1_000.0, "unpublished": 1_000.0}
    return {
        name: round(
            max(bound, median(getattr(one, name) for one in last))
            / max(bound, median(getattr(one, name) for one in second)),
            3,
        )
        for name, bound in least.items()
    }


def _table(samples: list[Sample], grown: dict[str, float], title: str) -> Table:
    table = Table(title=title)
    for heading in ("", "first", "median", "last", "last quarter ÷ second"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, ratio in grown.items():
        values = [getattr(one, name) for one in samples]
        table.add_row(name, f"{values[0]:,}", f"{median(values):,.1f}", f"{values[-1]:,}", f"{ratio:.3f}")
    return table


def _keep(
    samples: list[Sample], grown: dict[str, float], rate: float, kills: int, orders: int, wrong: list[str]
) -> None:
    commit = subprocess.run(
        ("git", "rev-parse", "--short", "HEAD"), capture_output=True, text=True, check=True
    ).stdout.strip()
    at = datetime.now(UTC)
    PROOFS.mkdir(parents=True, exist_ok=True)
    document = {
        "at": at.isoformat(timespec="seconds"),
        "commit": commit,
        "python": platform.python_version(),
        "minutes": round(samples[-1].at / 60, 1),
        "orders": orders,
        "orders_per_second": round(rate, 1),
        "kills": kills,
        "growth": grown,
        "wrong": wrong,
        "samples": [asdict(one) for one in samples[:: max(1, len(samples) // 60)]],
    }
    path = PROOFS / f"R16-{at:%Y-%m-%d}-{commit}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
