"""What the rules measure against."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import time, timedelta
from decimal import Decimal

from typing_extensions import override

FREEZE_SLICES = 10
"""Most slices of an instrument's freeze quantity that trading cuts one entry into."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that hold for a position. None: not enforced.

    Attributes:
        max_order_quantity: units in one order.
        max_position_quantity: units held under one position key.
        price_max_age: market time after which a price is stale.
        mis_cut_off: market's local time from which MIS positions may only shrink.
        max_order_value: rupees of one entry, at the last price.
        max_position_value: rupees in one instrument, held and on its way, of the account's strategies together.
        max_gross_exposure: rupees held and on their way in the account, long and short added up.
        max_open_orders: orders of the account that are open at once.
        max_daily_trades: orders of the account in the exchange's day.
        max_strategy_daily_trades: orders of one strategy in the exchange's day.
        max_daily_loss: rupees the account may lose in the exchange's day, realised and marked, before charges.
        max_order_rate: orders of the account in `order_rate_window`.
        max_strategy_order_rate: orders of one strategy in `order_rate_window`.
        order_rate_window: market time.
        duplicate_window: market time within which the same request under the same key is let through once.
        cooldown_losses: losing round trips in a row under one key that start a pause.
        cooldown: market time that the pause lasts.
    """

    max_order_quantity: int | None
    max_position_quantity: int | None
    price_max_age: timedelta
    mis_cut_off: time
    max_order_value: Decimal | None = None
    max_position_value: Decimal | None = None
    max_gross_exposure: Decimal | None = None
    max_open_orders: int | None = None
    max_daily_trades: int | None = None
    max_strategy_daily_trades: int | None = None
    max_daily_loss: Decimal | None = None
    max_order_rate: int | None = None
    max_strategy_order_rate: int | None = None
    order_rate_window: timedelta = timedelta(minutes=1)
    duplicate_window: timedelta | None = None
    cooldown_losses: int | None = None
    cooldown: timedelta = timedelta(minutes=15)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The rules in force are looked up by it for every signal.
        values = (
            *(self.max_order_quantity, self.max_position_quantity, self.price_max_age, self.mis_cut_off),
            *(self.max_order_value, self.max_position_value, self.max_gross_exposure, self.max_open_orders),
            *(self.max_daily_trades, self.max_strategy_daily_trades, self.max_daily_loss),
            *(self.max_order_rate, self.max_strategy_order_rate, self.order_rate_window),
            *(self.duplicate_window, self.cooldown_losses, self.cooldown),
        )
        object.__setattr__(self, "_hash", hash(values))

    @override
    def __hash__(self) -> int:
        return self._hash
