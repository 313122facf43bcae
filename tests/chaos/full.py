"""`make chaos [ARGS="--size moderate R1 R2"]`: the tests' scenarios in full; prints what was survived, writes JSON.

Results go to .tools/chaos/results. Everything of a scenario, and all before it on the same mesh, is proven at its end.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "e2e"))
sys.path.append(str(Path(__file__).parents[2] / "tools" / "kafka"))

import fork_server
from cluster import Cluster
from faults import KILLS
from frozen_strategies import frozen_strategies
from kafka_server import missing_for_kafka
from malformed import malformed_records
from rich.console import Console
from rich.table import Table
from scenarios import (
    STEPS,
    Survived,
    a_dead_member_s_orders,
    frozen_senders,
    kills_at_steps,
    members_come_and_go,
    random_kills,
    without_kafka,
)
from servers import BACK_SECONDS, servers_killed
from stores import database_stopped, stores_cut, stores_slow_and_reset

from alphapanda.domain.order import PositionEffect

RESULTS = Path(".tools/chaos/results")
STORES = ("postgres", "redis")
DATABASE_STOPS = (signal.SIGKILL, signal.SIGINT, signal.SIGQUIT) * 3


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    orders: int
    kills_a_step: int
    freezes: int
    strategy_freezes: int
    comings: int
    malformed: int
    kafka_away: tuple[float, ...]
    cut_seconds: float
    slow_or_reset: int
    server_kills: int

    def share(self, runs: int) -> Size:
        """What each of so many runs does, so that together they do no less; outages stay as long as they are."""
        counts = (
            "orders",
            "kills_a_step",
            "freezes",
            "strategy_freezes",
            "comings",
            "malformed",
            "slow_or_reset",
            "server_kills",
        )
        return replace(self, **{name: -(-getattr(self, name) // runs) for name in counts})


SIZES = {
    "short": Size(120, 1, 1, 1, 5, 400, (2,), 1, 5, 3),
    "moderate": Size(2_000, 3, 3, 3, 12, 5_000, (1, 10, 60), 5, 30, 12),
    "full": Size(10_000, 50, 25, 25, 100, 100_000, (1, 10, 60), 20, 200, 50),
}
Scenario = Callable[[Cluster, Size, int], Survived]


def _servers_killed(folder: Path, size: Size, seed: int, speed: str) -> Survived:
    kills = [name for _, name in zip(range(size.server_kills), cycle(KILLS), strict=False)]
    random.Random(seed).shuffle(kills)
    survived = servers_killed(folder / "data", kills, speed, seed)
    late = [seconds for seconds in survived.recoveries if seconds > BACK_SECONDS]
    assert not late, f"{len(late)} times it took longer than {BACK_SECONDS:g} s to come back: {late}"
    return survived


SCENARIOS: tuple[tuple[str, Scenario], ...] = (
    ("R1", lambda mesh, size, seed: random_kills(mesh, size.orders, seed)),
    ("R2", lambda mesh, size, _: kills_at_steps(mesh, STEPS, size.kills_a_step)),
    ("R4", lambda mesh, size, seed: malformed_records(mesh, size.malformed, seed)),
    ("R5", lambda mesh, size, _: without_kafka(mesh, size.kafka_away)),
    ("R6", lambda mesh, size, _: stores_cut(mesh, STORES, size.cut_seconds)),
    ("R6", lambda mesh, size, seed: stores_slow_and_reset(mesh, size.slow_or_reset, seed)),
    ("R6", lambda mesh, size, seed: database_stopped(mesh, DATABASE_STOPS, size.cut_seconds, seed)),
    (
        "R12",
        lambda mesh, size, _: frozen_senders(
            mesh, [PositionEffect.OPENS, PositionEffect.REDUCES] * size.freezes
        ),
    ),
    ("R12", lambda mesh, _, __: a_dead_member_s_orders(mesh)),
    ("R12", lambda mesh, size, _: frozen_strategies(mesh, size.strategy_freezes)),
    ("R12", lambda mesh, size, seed: members_come_and_go(mesh, size.comings, seed)),
)
ON_ONE_MACHINE: tuple[tuple[str, Callable[[Path, Size, int], Survived]], ...] = tuple(
    ("R14", partial(_servers_killed, speed=speed)) for speed in ("1", "20")
)
"""Scenarios of `alphapanda up`, each with a data directory of its own."""
CARDS = tuple(dict.fromkeys(card for card, _ in (*SCENARIOS, *ON_ONE_MACHINE)))


def main() -> int:
    """Runs what is asked for; 1 where something wasn't survived."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("cards", nargs="*", metavar="CARD", help=f"{' '.join(CARDS)}; all by default")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument(
        "--share",
        type=int,
        default=1,
        metavar="N",
        help="an Nth of orders and kills, for N runs side by side",
    )
    parser.add_argument(
        "--forked",
        action="store_true",
        help="fork services from a process that has imported them: kills as real, quicker",
    )
    wanted = parser.parse_args()
    if unknown := [card for card in wanted.cards if card not in CARDS]:
        parser.error(f"card: {unknown[0]!r} is not allowed; {' '.join(CARDS)}")
    if wanted.share < 1:
        parser.error(f"--share: {wanted.share} is not allowed; 1 or more")
    if wanted.forked:
        fork_server.enable()
    size = SIZES[wanted.size].share(wanted.share)
    console = Console(width=None if Console().is_terminal else 150)
    chosen = [(card, scenario) for card, scenario in SCENARIOS if card in (wanted.cards or CARDS)]
    if chosen and (missing := missing_for_kafka()):
        console.print(missing)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the mesh ends with us
    rows: list[tuple[str, Survived, str]] = []
    console.print(f"size {wanted.size}, seed {wanted.seed}", highlight=False)
    with ExitStack() as stack:
        mesh: Cluster | None = None
        for card, scenario in chosen:
            if mesh is None or not mesh.trusted:
                stack.close()
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="panda-")))
                mesh = stack.enter_context(Cluster(folder))
            rows.append((card, *_run(console, card, partial(scenario, mesh, size, wanted.seed), mesh)))
    for card, on_one_machine in ON_ONE_MACHINE:
        if card in (wanted.cards or CARDS):
            with tempfile.TemporaryDirectory(prefix="panda-") as name:
                scenario = partial(on_one_machine, Path(name), size, wanted.seed)
                rows.append((card, *_run(console, card, scenario)))
    share = f", a share of {wanted.share}" if wanted.share > 1 else ""
    _write(console, wanted.size + share, wanted.seed, rows)
    return int(any(wrong for _, _, wrong in rows))


def _run(
    console: Console, card: str, scenario: Callable[[], Survived], mesh: Cluster | None = None
) -> tuple[Survived, str]:
    began = time.monotonic()
    try:
        survived = scenario()
    except AssertionError as wrong:
        what = "; ".join(getattr(wrong, "__notes__", ()))
        if mesh is not None:
            mesh.trusted = False
        console.print(f"{card} [red]not survived[/red]: {what}\n{wrong}", highlight=False)
        return Survived(what, seconds=time.monotonic() - began), str(wrong)
    console.print(f"{card} {survived}", highlight=False)
    return survived, ""


def _write(console: Console, size: str, seed: int, rows: list[tuple[str, Survived, str]]) -> None:
    table = Table()
    for heading in (
        "",
        "what was done",
        "faults",
        "orders",
        "fills",
        "absent",
        "expired",
        "lost",
        "duplicate",
    ):
        table.add_column(heading, justify="left" if heading in {"", "what was done"} else "right")
    table.add_column("serving again, s", justify="right")
    table.add_column("time, s", justify="right")
    for card, one, wrong in rows:
        counts = (one.faults, one.orders, one.fills, one.absent, one.expired, one.lost, one.duplicate)
        again = f"{median(one.recoveries):.1f} (max {max(one.recoveries):.1f})" if one.recoveries else ""
        shown = ["not survived", *[""] * 6] if wrong else [str(count) for count in counts]
        table.add_row(card, one.what, *shown, again, f"{one.seconds:.0f}")
    console.print(table)
    at = datetime.now(UTC)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{at:%Y%m%dT%H%M%SZ}-{seed}.json"
    document = {
        "at": at.isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "size": size,
        "seed": seed,
        "survived": [{"card": card, **asdict(one), "wrong": wrong} for card, one, wrong in rows],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {path}", highlight=False)


if __name__ == "__main__":
    raise SystemExit(main())
