"""A naive oracle of one ema_cross strategy on one-minute bars: 30 lines that share no code with the platform."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from pathlib import Path

PAISA = Decimal("0.01")
MUHURAT = date(2019, 10, 27)


@dataclass
class Books:
    """What the oracle ends with: fills as (time, side, quantity, price, commission, realised) and refused flips."""

    fills: list[tuple[datetime, str, int, Decimal, Decimal, Decimal]] = field(default_factory=list)
    refused: list[datetime] = field(default_factory=list)
    position: int = 0
    entry: Decimal = Decimal(0)
    cash: Decimal = Decimal(1_000_000)
    last: Decimal = Decimal(0)

    def trade(self, at: datetime, target: int, close: Decimal) -> None:
        delta, self.last = target - self.position, close
        side = "BUY" if delta > 0 else "SELL"
        slipped = close * (Decimal("1.0005") if delta > 0 else Decimal("0.9995"))
        price = slipped.quantize(PAISA, rounding=ROUND_CEILING if delta > 0 else ROUND_FLOOR)
        commission = (price * abs(delta) / 1000).quantize(PAISA, rounding=ROUND_HALF_UP)
        realised = (price - self.entry) * self.position
        self.cash -= price * delta + commission
        self.position, self.entry = target, price
        self.fills.append((at, side, abs(delta), price, commission, realised))


def run(  # noqa: C901 - naive, so that it can be checked line by line
    file: Path, fast: int, slow: int, quantity: int, days: int | None = None, *, next_open: bool = False
) -> Books:
    """The books after the file's first `days` sessions (all where None); fills at the close that decides, or the next open."""
    wanted: int | None = None
    books, n, f, s, side, day, flat_on, seen = Books(), 0, 0.0, 0.0, None, None, None, set()
    with gzip.open(file, "rt") as lines:
        for row in csv.DictReader(lines):
            start = datetime.fromisoformat(row["datetime_ist"])
            opens, closes = (
                (time(18, 15), time(19, 15)) if start.date() == MUHURAT else (time(9, 15), time(15, 30))
            )
            cut_off = time(19, 0) if start.date() == MUHURAT else time(15)
            seen.add(day := start.date())
            if days is not None and len(seen) > days:
                break
            at, close = start + timedelta(minutes=1), Decimal(row["close"])
            if wanted is not None and opens <= start.time() < closes:
                books.trade(start, wanted, Decimal(row["open"]))
                wanted = None
            if at.time() >= cut_off and flat_on != day:
                flat_on = day
                if books.position and next_open:
                    wanted = 0
                elif books.position:
                    books.trade(at, 0, close)
            if not opens <= start.time() < closes:
                continue
            n, p, books.last = n + 1, float(close), close
            f, s = (p, p) if n == 1 else (f + 2 / (fast + 1) * (p - f), s + 2 / (slow + 1) * (p - s))
            if n >= slow and (f > s) is not side:
                side = f > s
                if at.time() < cut_off and next_open:
                    wanted = quantity if side else -quantity
                elif at.time() < cut_off:
                    books.trade(at, quantity if side else -quantity, close)
                elif at.time() < closes:  # a flip at the close is for the next day, on which MIS begins flat
                    books.refused.append(at)
    return books
