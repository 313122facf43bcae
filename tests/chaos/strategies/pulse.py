"""Trades without an opinion: a new wish every few ticks, so that orders never cease."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from alphapanda.strategy.core.strategy import Stance, Strategy, StrategyParameters, Wish

CYCLES = {
    "in_out": (Stance.LONG, Stance.FLAT),
    "flip": (Stance.LONG, Stance.SHORT),
    "round": (Stance.LONG, Stance.SHORT, Stance.FLAT),
}


class PulseParameters(StrategyParameters):
    """How often, and between what."""

    every: int = Field(2, ge=1, le=10_000, description="ticks from wish to wish")
    cycle: int = Field(0, ge=0, le=2, description="0: in and out, 1: long and short, 2: long, short and out")


class Pulse(Strategy[PulseParameters]):
    """Goes round its cycle."""

    type_name: ClassVar[str] = "pulse"
    parameters_model: ClassVar[type[StrategyParameters]] = PulseParameters

    def __init__(self, parameters: PulseParameters) -> None:
        self._parameters = parameters
        self._ticks = 0

    def on_tick(self, price: float, time_ns: int) -> Wish | None:
        """A wish with every so manieth tick."""
        self._ticks += 1
        turn, rest = divmod(self._ticks, self._parameters.every)
        if rest:
            return None
        cycle = list(CYCLES.values())[self._parameters.cycle]
        return Wish(cycle[turn % len(cycle)], f"turn {turn}")
