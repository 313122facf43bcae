"""Made-up recordings: one-minute bars of a seeded walk on the exchange's grid, restless enough to trade often."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

HEADER = "datetime_ist,open,high,low,close,volume"
STEPS = (-6, -3, -1, 0, 1, 3, 6)
DAY = "2025-03-10"


def walk(folder: Path, begins: str = "09:15", bars: int = 375, seed: int = 11, last: str = "15:40") -> Path:
    """Bars of 10 March 2025 from `begins` on, and one more at `last`, which moves the clock past what was open."""
    chance, price = random.Random(seed), 30_000
    at = datetime.fromisoformat(f"{DAY}T{begins}:00")
    lines = [HEADER]
    for _ in range(bars):
        price = max(price + 5 * chance.choice(STEPS), 5)
        lines.append(_bar(at, price))
        at += timedelta(minutes=1)
    lines.append(_bar(datetime.fromisoformat(f"{DAY}T{last}:00"), price))
    file = folder / "walk.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def _bar(at: datetime, price: int) -> str:
    close = f"{price / 100:.2f}"
    return f"{at:%Y-%m-%d %H:%M:%S},{close},{close},{close},{close},100"
