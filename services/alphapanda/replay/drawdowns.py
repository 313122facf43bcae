"""The falls of the equity from its peaks at the ends of trading days: how deep, how long, and when they were recovered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from alphapanda.replay.figure import Definition, NotDefined, Number, Unit
from alphapanda.replay.trading_days import DayEnd

DEFINITIONS: Final = {
    "longest_drawdown": Definition(
        "Longest drawdown",
        Unit.TRADING_DAYS,
        "trading days from a peak until the equity at a day's end is there again, or until the end",
    ),
    "max_drawdown_length": Definition(
        "Length of max drawdown",
        Unit.TRADING_DAYS,
        "trading days from the peak before the deepest fall at days' ends until it is recovered, or until the end",
    ),
    "max_drawdown_recovery": Definition(
        "Recovery of max drawdown",
        Unit.TRADING_DAYS,
        "trading days from the lowest day's end of the deepest fall until the peak is reached again",
    ),
}


@dataclass(frozen=True, slots=True)
class Drawdown:
    """A fall from a peak.

    Attributes:
        peak: day of the peak; None for the starting cash.
        trough: the lowest day.
        recovered: the day at whose end the peak is reached again; None if it never was.
        depth: fraction of the peak, > 0.
        rupees: fall from the peak to the lowest day, > 0.
        days: trading days from the peak to the recovery, or to the end.
        days_to_recover: trading days from the lowest day to the recovery; None if it never was.
    """

    peak: date | None
    trough: date
    recovered: date | None
    depth: float
    rupees: Decimal
    days: int
    days_to_recover: int | None


def drawdowns(starting_cash: Decimal, ends: Sequence[DayEnd]) -> list[Drawdown]:
    """All falls, the deepest first; none where the equity never was above 0."""
    found: list[Drawdown] = []
    peak_at, peak = -1, starting_cash
    trough_at = -1
    for at, (_, equity) in enumerate(ends):
        if equity >= peak:
            if trough_at > peak_at:
                found.append(_fall(ends, peak_at, peak, trough_at, at))
            peak_at, peak = at, equity
        elif trough_at <= peak_at or equity < ends[trough_at].equity:
            trough_at = at
    if trough_at > peak_at:
        found.append(_fall(ends, peak_at, peak, trough_at, None))
    return sorted((fall for fall in found if fall.depth > 0), key=lambda fall: -fall.depth)


def drawdown_figures(falls: Sequence[Drawdown]) -> dict[str, Number | NotDefined]:
    """Computes the figures of DEFINITIONS.

    Args:
        falls: all falls, the deepest first.
    """
    if not falls:
        none = NotDefined("no trading day ended below an earlier one")
        return dict.fromkeys(DEFINITIONS, none)
    deepest = falls[0]
    recovery = deepest.days_to_recover
    return {
        "longest_drawdown": max(fall.days for fall in falls),
        "max_drawdown_length": deepest.days,
        "max_drawdown_recovery": NotDefined("it was not recovered") if recovery is None else recovery,
    }


def _fall(
    ends: Sequence[DayEnd], peak_at: int, peak: Decimal, trough_at: int, recovered_at: int | None
) -> Drawdown:
    fall = peak - ends[trough_at].equity
    until = len(ends) - 1 if recovered_at is None else recovered_at
    return Drawdown(
        peak=ends[peak_at].day if peak_at >= 0 else None,
        trough=ends[trough_at].day,
        recovered=None if recovered_at is None else ends[recovered_at].day,
        depth=float(fall / peak) if peak > 0 else 0.0,
        rupees=fall,
        days=until - peak_at,
        days_to_recover=None if recovered_at is None else recovered_at - trough_at,
    )
