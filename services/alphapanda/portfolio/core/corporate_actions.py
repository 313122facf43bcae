"""Whether a change of the shares held looks like a split, a bonus or a consolidation."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Final

_SPLITS: Final = (2, 3, 4, 5, 10, 20, 50, 100)
_BONUSES: Final = (
    (1, 1),
    (1, 2),
    (1, 3),
    (1, 4),
    (1, 5),
    (1, 10),
    (2, 1),
    (2, 3),
    (2, 5),
    (3, 1),
    (3, 2),
    (3, 5),
    (4, 1),
    (5, 1),
)
_SAME_COST: Final = Decimal("0.02")
"""How far the broker's cost may be from ours where it is the same: its average is rounded, and has charges or hasn't."""


def corporate_action(
    before: int, now: int, cost_before: Decimal | None = None, cost_now: Decimal | None = None
) -> str:
    """What may have happened, in words; empty where it looks like nothing of the kind.

    Args:
        before: units that are expected, > 0.
        now: units that the broker holds.
        cost_before: rupees that they cost; None: unknown.
        cost_now: rupees that they cost, as the broker says; None: unknown. Where both are known and differ, fewer ratios count:
            only those that nobody trades by chance.
    """
    if before <= 0 or now <= 0 or before == now:
        return ""
    kept = cost_before is not None and cost_now is not None and _alike(cost_before, cost_now)
    for ratio, words in _ratios():
        if now != before * ratio.numerator // ratio.denominator:
            continue
        if kept:
            return f"{words}: the cost has stayed"
        if ratio.denominator == 1 and before > 1:
            return f"{words}, though the broker's average price doesn't show it yet"
    return ""


def _ratios() -> list[tuple[Fraction, str]]:
    splits = [(Fraction(into), f"a split of 1 into {into}") for into in _SPLITS]
    bonuses = [(Fraction(more + per, per), f"a bonus of {more} for {per}") for more, per in _BONUSES]
    joined = [(Fraction(1, of), f"a consolidation of {of} into 1") for of in _SPLITS]
    found: dict[Fraction, str] = {}
    for ratio, words in (*splits, *bonuses, *joined):
        found[ratio] = f"{found[ratio]} or {words}" if ratio in found else words
    return list(found.items())


def _alike(ours: Decimal, theirs: Decimal) -> bool:
    return abs(ours - theirs) <= _SAME_COST * max(abs(ours), abs(theirs))
