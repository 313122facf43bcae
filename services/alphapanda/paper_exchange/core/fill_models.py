"""How like a real exchange the paper exchange is: models that change when and how much fills, and what slippage costs.

All are functions of the order, the market's prices and volumes and the seed: the same run fills the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

_WHOLE: Final = Decimal(100)


class Slippage(StrEnum):
    """What an order pays that takes the market's price; one that rested at its limit pays that.

    PERCENT: a percentage of the price, times 0.5 to 1.5.
    SPREAD: half of a spread of a fixed number of price steps.
    VOLUME_SHARE: the percentage times the share that the order takes of the volume that was traded; all of it where that is unknown.
    """

    PERCENT = "percent"
    SPREAD = "spread"
    VOLUME_SHARE = "volume_share"


class Queue(StrEnum):
    """Where a limit order stands among those at its price.

    FRONT: it trades when the price touches its limit.
    BACK: only when the price goes beyond it.
    """

    FRONT = "front"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class FillModels:
    """The models in force.

    Attributes:
        slippage: what an order pays that takes the market's price.
        spread_ticks: the spread in price steps, > 0; of SPREAD.
        fill_share: percent of the volume traded since the last price that may fill of an order that waits; the rest waits on.
            None: orders fill whole. Where no volume is known they do, too.
        latency: market time from the call until the order is at the exchange.
        queue: where a limit order stands among those at its price.
        circuit: percent around the day's first price in which an instrument trades, > 0; None: there are no circuit limits.
    """

    slippage: Slippage = Slippage.PERCENT
    spread_ticks: int = 2
    fill_share: Decimal | None = None
    latency: timedelta = timedelta()
    queue: Queue = Queue.FRONT
    circuit: Decimal | None = None

    @property
    def may_hold(self) -> bool:
        """Whether a market order may wait, too."""
        return bool(self.latency) or self.circuit is not None

    @property
    def needs_each_price(self) -> bool:
        """Whether they need every price, though no order waits: the volume until then, or the day's first price."""
        return self.measures_volume or self.circuit is not None

    @property
    def measures_volume(self) -> bool:
        """Whether they need to know what was traded between one price and the next."""
        return self.fill_share is not None or self.slippage is Slippage.VOLUME_SHARE

    def units(self, wanted: int, traded: int | None, lot_size: int) -> int:
        """Units that may fill of an order that waits, in whole lots.

        Args:
            wanted: units that it still wants.
            traded: units traded since the price before; None: unknown.
            lot_size: units of a lot, > 0.
        """
        if self.fill_share is None or traded is None:
            return wanted
        may = int(traded * self.fill_share / _WHOLE)
        return min(wanted, may - may % lot_size)


AS_ALWAYS: Final = FillModels()
"""Whole fills at once, with slippage by percent."""


def traded_between(before: int | None, now: int | None) -> int | None:
    """Units traded between two readings of a day's volume, which begins anew each day; None where one isn't known."""
    if before is None or now is None:
        return None
    return now - before if now >= before else now
