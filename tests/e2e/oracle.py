"""A naive oracle of one ema_cross strategy on one-minute bars: a few lines that share no code with the platform."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from hashlib import blake2b
from pathlib import Path

PAISA, TICK = Decimal("0.01"), Decimal("0.05")
MUHURAT = date(2019, 10, 27)


# Zerodha's charges of an intraday trade at the oldest rates known, which stand in for 2019: on a purchase, on a sale.
TAXES = {
    "stt": ("0", "0.00025"),
    "exchange": ("0.0000325", "0.0000325"),
    "ipft": ("0.000001", "0.000001"),
    "sebi": ("0.000001", "0.000001"),
    "stamp": ("0.00003", "0"),
}


@dataclass
class Books:
    """What the oracle ends with: fills as (time, side, quantity, price, charges, realised) and refused flips."""

    fills: list[tuple[datetime, str, int, Decimal, Decimal, Decimal]] = field(default_factory=list)
    refused: list[datetime] = field(default_factory=list)
    position: int = 0
    entry: Decimal = Decimal(0)
    cash: Decimal = Decimal(1_000_000)
    last: Decimal = Decimal(0)
    day: date = date.min
    due: dict[str, Decimal] = field(default_factory=dict)
    paid: Decimal = Decimal(0)

    def trade(self, at: datetime, target: int, close: Decimal) -> None:
        delta, self.last = target - self.position, close
        side = "BUY" if delta > 0 else "SELL"
        slip = close * Decimal("0.0005") * slippage(at) * (1 if delta > 0 else -1)
        rounding = ROUND_CEILING if delta > 0 else ROUND_FLOOR
        price = ((close + slip) / TICK).quantize(Decimal(1), rounding=rounding) * TICK
        commission = self.charged(at.date(), delta, price)
        realised = (price - self.entry) * self.position
        self.cash -= price * delta + commission
        self.position, self.entry = target, price
        self.fills.append((at, side, abs(delta), price, commission, realised))

    def charged(self, day: date, delta: int, price: Decimal) -> Decimal:
        """What a trade adds to the day's contract note."""
        if day != self.day:
            self.day, self.due, self.paid = (
                day,
                dict.fromkeys((*TAXES, "brokerage", "gst"), Decimal(0)),
                Decimal(0),
            )
        value = price * abs(delta)
        lines = {name: value * Decimal(rates[delta < 0]) for name, rates in TAXES.items()}
        lines["brokerage"] = min(value * 3 / 10_000, Decimal(20))
        lines["gst"] = (lines["brokerage"] + lines["exchange"] + lines["sebi"]) * 18 / 100
        for name, amount in lines.items():
            self.due[name] += amount
        note = sum(
            due.quantize(Decimal(1) if name in ("stt", "stamp") else PAISA, rounding=ROUND_HALF_UP)
            for name, due in self.due.items()
        )
        more, self.paid = note - self.paid, note
        return more


def slippage(at: datetime) -> Decimal:
    """The part of the slippage that a fill at this time (in India) has: from 0.5 to 1.5."""
    seconds = at.replace(tzinfo=timezone(timedelta(hours=5, minutes=30))).timestamp()
    cause = f"slippage\x1f7\x1fema_cross\x1fNSE:YESBANK\x1f{seconds:.6f}\x1f0"
    drawn = int.from_bytes(blake2b(cause.encode(), digest_size=8).digest(), "big") % 1_000_001
    return Decimal(500_000 + drawn) / 1_000_000


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
