"""Keeps a target that was made at a session's close until the next session."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from alphapanda.domain.order import Product
from alphapanda.strategy.core.bars import INTERVALS
from alphapanda.strategy.core.pricing import restored, stored
from alphapanda.strategy.core.strategy import Stance, Strategy, StrategyParameters, Target


def carries_over_night(
    strategy_type: type[Strategy[Any]], parameters: StrategyParameters, product: Product
) -> bool:
    """Whether a target made at the close of a day is for the next day.

    The state from which the type made it has to live that long, and so does the product: MIS is squared off before the
    close, so each day begins flat. A bar of a day is known only at the close, so its target is for the next day always.
    """
    if not strategy_type.carries_over_night:
        return False
    interval = strategy_type.interval_of(parameters)
    of_days = interval is not None and not INTERVALS[interval]
    return of_days or product is not Product.MIS


class WaitingTarget:
    """A target made at a session's close, when nothing can be traded any more; the latest one counts.

    Args:
        carries: False if the target ends with its trading day.

    Attributes:
        target: the target that waits; None if none does.
        close: close of the recorded bar at which it was made, rupees: it waits for the next open. 0: for the next tick.
        waited: set where a target is kept; whoever wants to know clears it before.
    """

    __slots__ = ("_carries", "_day_open_ns", "close", "target", "waited")

    def __init__(self, *, carries: bool) -> None:
        self.target: Target | None = None
        self.close = 0.0
        self.waited = False
        self._carries = carries
        self._day_open_ns = 0

    def put(self, target: Target, day_open_ns: int, close: float = 0.0) -> None:
        """Keeps a target of the trading day that opened then, in place of an earlier one."""
        self.target = target
        self.close = close
        self.waited = True
        self._day_open_ns = day_open_ns

    def taken(self, day_open_ns: int) -> Target | None:
        """Takes the target out for a session of the trading day that opened then; None if it has ended."""
        target, self.target = self.target, None
        return target if self._carries or day_open_ns == self._day_open_ns else None

    def forget(self) -> None:
        """Forgets the target."""
        self.target = None

    def state(self) -> JsonValue:
        """The target and its day; None if none waits."""
        if self.target is None:
            return None
        kept: list[JsonValue] = [int(self.target.stance), self.target.reason, self._day_open_ns]
        priced = stored(self.target.at, self.target.protect)
        if priced:
            return [*kept, self.close, priced]
        return [*kept, self.close] if self.close else kept

    def restore(self, state: Any) -> None:
        """Restores what `state` returned. Earlier versions stored no day: such a target waits only if it carries."""
        self.target = None
        if state is not None:
            stance, reason, *rest = state
            self._day_open_ns, self.close, *_ = [*rest, 0, 0.0] if len(rest) != 1 else [*rest, 0.0]
            self.target = Target(Stance(stance), reason, *restored(rest[2] if len(rest) > 2 else None))  # noqa: PLR2004
