"""Runs that are kept, so that a slip is seen: tests/bench/history/MACHINE/DATE-COMMIT.json."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import Figure

HISTORY = Path(__file__).with_name("history")
NOISE: Final = 0.15
"""Part of a ratio by which two runs of the same commit may differ on a small machine."""


def machine() -> str:
    """Its processor and how many of its cores we may use, as the name of a folder."""
    found = None
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    model = found[1] if found else platform.processor() or platform.machine()
    words = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{words}-{cores}-cores"


def commit() -> str:
    """The commit that is measured, with a plus where the worktree differs from it; "unknown" outside a repository."""
    try:
        made = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*", "--abbrev=10"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return made.stdout.strip()


def document(figures: Sequence[Figure], at: datetime, *, full: bool) -> dict[str, Any]:
    """A run as it is written; `at` in UTC."""
    return {
        "at": at.isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "python": platform.python_version(),
        "form": "full" if full else "small",
        "figures": [figure._asdict() for figure in figures],
    }


def keep(run: dict[str, Any], at: datetime, history: Path = HISTORY) -> Path:
    """Keeps a run for later ones to be compared with; of the same commit and day it replaces only the cards it measured."""
    path = history / run["machine"] / f"{at:%Y-%m-%d}-{run['commit'].rstrip('+')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))["figures"]
        measured = {figure["card"] for figure in run["figures"]}
        others = [figure for figure in before if figure["card"] not in measured]
        run = {**run, "figures": [*others, *run["figures"]]}
    path.write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    return path


def kept(folder: Path | None = None) -> dict[tuple[str, str], float]:
    """The last kept ratio of each figure on this machine, by its card and what it is of."""
    runs = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (HISTORY / machine() if folder is None else folder).glob("*.json")
    ]
    return {
        _named(figure["card"], figure["what"]): figure["ratio"]
        for run in sorted(runs, key=lambda run: run["at"])
        for figure in run["figures"]
        if figure["ratio"] is not None
    }


def compared(figure: Figure, before: dict[tuple[str, str], float]) -> str:
    """The kept ratio, and whether this one is worse by more than noise; empty where none is kept."""
    then = before.get(_named(figure.card, figure.what))
    if then is None or figure.ratio is None:
        return ""
    less_is_better = figure.bar.startswith("<=")
    worse = figure.ratio > then * (1 + NOISE) if less_is_better else figure.ratio < then * (1 - NOISE)
    return f"{then:.2f} SLIPPED" if worse else f"{then:.2f}"


def _named(card: str, what: str) -> tuple[str, str]:
    """Counts in it may differ between forms of a run."""
    return card, re.sub(r"[\d,]*\d", "#", what)
