"""What pandas makes of the true bars of the YESBANK year: the signals of five strategies on three intervals, to the minute.

It shares no code with the platform. `python -m tests.e2e.true_bars.signals` writes them to signals.json, as counts, first and
last ones and hashes; with a name, such as `rsi.5m`, it prints that list.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RECORDED = Path(__file__).with_name("signals.json")
MINUTES = {"1m": 1, "5m": 5, "15m": 15}
STRATEGIES: dict[str, dict[str, str]] = {
    "sma_cross": {"fast": "10", "slow": "30"},
    "ema_cross": {"fast": "12", "slow": "26"},
    "rsi": {"period": "14"},
    "opening_range_breakout": {"minutes": "15"},
    "vwap_reversion": {"entry_percent": "0.5", "exit_percent": "0.1"},
}
OF_A_DAY = ("opening_range_breakout", "vwap_reversion")
"""Types whose state is the day's: what they want at its close ends with it."""
MUHURAT = "2019-10-27"


def minutes(file: Path) -> pd.DataFrame:
    """The session's minutes: prices in paise, `day`, `open_at` of the day, and `ends`, when a minute is known."""
    rows = pd.read_csv(file, parse_dates=["datetime_ist"])
    start = rows["datetime_ist"]
    day = start.dt.normalize()
    muhurat = day == MUHURAT
    open_at = day + pd.to_timedelta(np.where(muhurat, 18 * 60 + 15, 9 * 60 + 15), unit="m")
    close_at = day + pd.to_timedelta(np.where(muhurat, 19 * 60 + 15, 15 * 60 + 30), unit="m")
    for name in ("open", "high", "low", "close"):
        rows[name] = (rows[name] * 100).round().astype("int64")
    rows = rows.assign(day=day, open_at=open_at, close_at=close_at, ends=start + pd.Timedelta(minutes=1))
    return rows[(start >= open_at) & (start < close_at)].reset_index(drop=True)


def resampled(rows: pd.DataFrame, length: int) -> pd.DataFrame:
    """Bars of `length` minutes, counted from the session's open, cut at its close."""
    number = (rows["datetime_ist"] - rows["open_at"]) // pd.Timedelta(minutes=length)
    bars = (
        rows.groupby([rows["day"], number])
        .agg(
            open=("open", "first"),
            high=("high", "max"),
            low=("low", "min"),
            close=("close", "last"),
            volume=("volume", "sum"),
            open_at=("open_at", "first"),
            close_at=("close_at", "first"),
            last=("ends", "last"),
        )
        .reset_index(names=["day", "number"])
    )
    start = bars["open_at"] + bars["number"] * pd.Timedelta(minutes=length)
    ends = np.minimum(start + pd.Timedelta(minutes=length), bars["close_at"])
    return bars.assign(start=start, ends=ends)


def wanted(name: str, bars: pd.DataFrame) -> pd.Series:
    """The side that a strategy wants after each bar: 1, 0, -1; NaN where it leaves things as they are."""
    given = STRATEGIES[name]
    close = bars["close"]
    if name == "sma_cross":
        fast, slow = int(given["fast"]), int(given["slow"])
        off = close.rolling(fast).sum() * slow - close.rolling(slow).sum() * fast
        return np.sign(off).replace(0, np.nan)
    if name == "ema_cross":
        fast, slow = (close.ewm(span=int(given[each]), adjust=False).mean() for each in ("fast", "slow"))
        side = np.sign(fast - slow).replace(0, np.nan).ffill()
        return side.where(np.arange(len(side)) >= int(given["slow"]) - 1)
    if name == "rsi":
        return _reverted(_wilder(close, int(given["period"])))
    if name == "opening_range_breakout":
        opening = bars["start"] < bars["open_at"] + pd.Timedelta(minutes=int(given["minutes"]))
        of_day = bars["day"]
        high = bars["high"].where(opening).groupby(of_day).transform("max")
        low = bars["low"].where(opening).groupby(of_day).transform("min")
        side = (close > high).astype(float) - (close < low)
        return side.where(~opening & (side != 0))
    typical = (bars["high"] + bars["low"] + close) / 3
    turnover = (typical * bars["volume"]).groupby(bars["day"]).cumsum()
    vwap = turnover / bars["volume"].groupby(bars["day"]).cumsum()
    off = 100 * (close / vwap - 1)
    entered = pd.Series(np.where(off > 0, -1.0, 1.0), off.index).where(
        off.abs() >= float(given["entry_percent"])
    )
    return entered.fillna(pd.Series(0.0, off.index).where(off.abs() <= float(given["exit_percent"])))


def _wilder(close: pd.Series, period: int) -> pd.Series:
    """The relative strength index as TA-Lib has it: the mean of the first moves, then Wilder's smoothing."""
    move = close.diff()

    def smoothed(moves: pd.Series) -> pd.Series:
        first = moves.iloc[1 : period + 1].mean()
        rest = pd.concat([pd.Series([first], [period]), moves.iloc[period + 1 :]])
        return rest.ewm(alpha=1 / period, adjust=False).mean()

    gain, loss = smoothed(move.clip(lower=0)), smoothed((-move).clip(lower=0))
    return (100 * gain / (gain + loss)).reindex(close.index)


def _reverted(index: pd.Series) -> pd.Series:
    side, sides = 0, []
    for value in index:
        if value <= 30:
            side = 1
        elif value >= 70:
            side = -1
        elif (side > 0 and value >= 50) or (side < 0 and value <= 50):
            side = 0
        elif not side or np.isnan(value):
            sides.append(np.nan)
            continue
        sides.append(float(side))
    return pd.Series(sides, index.index)


def signals(name: str, bars: pd.DataFrame, rows: pd.DataFrame) -> Iterator[tuple[pd.Timestamp, int]]:
    """When a strategy signals, and the side: where it differs from the last one, and anew on each day.

    A bar is known at its end, or, where its last minute has no row, with the next row. What is known at the close is for the
    next open.
    """
    sides = wanted(name, bars)
    ends, day_opens = rows["ends"].to_numpy(), sorted(rows["open_at"].unique())
    at = np.searchsorted(ends, bars["ends"].to_numpy())
    last: int | None = None
    last_day: Any = None
    for known, side, bar_day, close_at in zip(at, sides, bars["day"], bars["close_at"], strict=True):
        if np.isnan(side):
            continue
        moment = pd.Timestamp(ends[known]) if known < len(ends) else None
        if moment is None or moment >= close_at:
            later = [opened for opened in day_opens if opened >= close_at]
            if not later or name in OF_A_DAY:
                continue
            moment = later[0]
        if moment.normalize() != bar_day and name in OF_A_DAY:
            continue
        if int(side) != last or moment.normalize() != last_day:
            last, last_day = int(side), moment.normalize()
            yield moment, last


def lines(found: Iterator[tuple[pd.Timestamp, int]]) -> list[str]:
    """The signals as text, a line each."""
    return [f"{moment:%Y-%m-%d %H:%M} {side:+d}" for moment, side in found]


def brief(found: list[str]) -> dict[str, Any]:
    """What is recorded of a list of signals."""
    return {
        "count": len(found),
        "first": found[0],
        "last": found[-1],
        "sha256": sha256("\n".join(found).encode()).hexdigest(),
    }


def main(arguments: list[str]) -> None:
    """Writes what is recorded, or prints one list."""
    folder = Path(os.environ["ALPHAPANDA_TEST_NSE_DATA"])
    (file,) = folder.glob("yesbank_2019_1min/*.csv.gz")
    rows = minutes(file)
    found = {
        f"{name}.{interval}": lines(signals(name, resampled(rows, length), rows))
        for name in STRATEGIES
        for interval, length in MINUTES.items()
    }
    if arguments:
        sys.stdout.write("\n".join(found[arguments[0]]) + "\n")
        return
    RECORDED.write_text(json.dumps({name: brief(each) for name, each in found.items()}, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
