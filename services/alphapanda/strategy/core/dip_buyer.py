"""Dip buyer: asks for a price below the market's, and protects what it gets with a stop and a target."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from typing_extensions import override

from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.pricing import At, Protect
from alphapanda.strategy.core.strategy import (
    BarStrategy,
    IntradayBarParameters,
    Stance,
    StrategyParameters,
    Target,
)

_PERCENT = 100.0


class DipBuyerParameters(IntradayBarParameters):
    """How far below the close it asks, how long it waits, and how far away its exits are, in percent of the price asked."""

    dip: float = Field(0.3, gt=0, le=10, description="percent below the close at which it asks")
    wait: int = Field(15, ge=1, le=375, description="bars after which it takes back what hasn't filled")
    stop: float = Field(
        0.5, gt=0, le=20, description="percent below the price asked at which the loss is stopped"
    )
    target: float = Field(
        1.0, gt=0, le=50, description="percent above the price asked at which the profit is taken"
    )


class DipBuyer(BarStrategy[DipBuyerParameters]):
    """Long at a limit below the close; out at its stop or its target, which stand by from the first unit that fills.

    An order that hasn't filled after `wait` bars is taken back and asked for anew, from the close of then. So is one that
    was stopped out. It shows how a strategy asks for prices and sees its working orders; it is no advice.
    """

    type_name: ClassVar[str] = "dip_buyer"
    parameters_model: ClassVar[type[StrategyParameters]] = DipBuyerParameters
    wants_position: ClassVar[bool] = True
    carries_over_night: ClassVar[bool] = False

    @override
    def __init__(self, parameters: DipBuyerParameters) -> None:
        self._parameters = parameters
        self._asked = False
        self._waited = 0

    @override
    def on_bar(self, bar: Bar) -> Target | None:
        if self.context.position.quantity:
            return None
        if self._asked:
            self._waited += 1
            if self.context.open_orders and self._waited < self._parameters.wait:
                return None
            self._asked = False
            return Target(Stance.FLAT, "taken back" if self.context.open_orders else "ended")
        limit = bar.close * (1 - self._parameters.dip / _PERCENT)
        protect = Protect(
            stop_loss=limit * (1 - self._parameters.stop / _PERCENT),
            target=limit * (1 + self._parameters.target / _PERCENT),
        )
        self._asked, self._waited = True, 0
        return Target(
            Stance.LONG, f"{self._parameters.dip:g} % below {bar.close:.2f}", At(limit=limit), protect
        )
