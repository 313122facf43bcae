"""Compares a kill switch with a copy of it. Risk's row is right; while they differ, the stricter one applies."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from alphapanda.domain.order import TradingState

COMPARE_SECONDS = 10.0
"""Wall time between two comparisons of the copies, unless a setting says otherwise."""


class SwitchCopy(NamedTuple):
    """State and revision of a kill switch, or of a copy of it; revision 0 if it was never set."""

    state: TradingState
    revision: int


class Agreement(Enum):
    """How a copy agrees with risk's row, and what is to be done."""

    AGREES = auto()
    """Nothing."""
    BEHIND = auto()
    """The copy hasn't got the newest change, which somebody commanded: deliver it."""
    TO_REPLACE = auto()
    """The copy holds what was never set and isn't stricter: risk's row takes its place."""
    TO_CONFIRM = auto()
    """The copy holds what was never set and is stricter: only a person's command may take its place."""


def agreement(own: SwitchCopy, copy: SwitchCopy) -> Agreement:
    """Compares risk's row with a copy that was read before it.

    A row is stored before it is told to anybody, so a revision above the row's was never set.
    """
    if copy == own:
        return Agreement.AGREES
    if copy.revision < own.revision:
        return Agreement.BEHIND
    return Agreement.TO_CONFIRM if copy.state > own.state else Agreement.TO_REPLACE
