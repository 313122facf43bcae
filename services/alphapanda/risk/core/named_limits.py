"""Limits by their names, as people set them: which there are, what a value may be, where one may be set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from types import MappingProxyType
from typing import Final

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.risk.core.limits import Limits

OFF: Final = "off"
"""The value of a limit that isn't enforced."""

Value = int | Decimal | timedelta | None


class Unit(Enum):
    """What a limit counts."""

    UNITS = "units"
    RUPEES = "rupees"
    ORDERS = "orders"
    TRIPS = "round trips"
    SECONDS = "seconds"


class Reach(Enum):
    """The narrowest scope at which a limit means something."""

    ACCOUNT = "an account"
    STRATEGY = "an account or a strategy"
    INSTRUMENT = "an account or an instrument"
    ANY = "an account, a strategy, an instrument, or both"


@dataclass(frozen=True, slots=True)
class NamedLimit:
    """A limit that may be set.

    Attributes:
        name: that of the attribute of Limits.
        rule: the rule that reads it.
        unit: of its value.
        reach: where it may be set.
        may_be_off: False where there is always one.
        account_wide: whether measuring it takes the account's other positions and their prices.
        counted: whether measuring it takes what is kept of orders and fills: costs, day counters, the last request.
    """

    name: str
    rule: str
    unit: Unit
    reach: Reach
    may_be_off: bool = True
    account_wide: bool = False
    counted: bool = False

    def parse(self, value: str, field: str) -> Value:
        """The value of a text.

        Raises:
            InvalidInput: it isn't one that this limit takes.
        """
        if value == OFF and self.may_be_off:
            return None
        off = f", or {OFF}" if self.may_be_off else ""
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        if self.unit in _WHOLE:
            if not number.is_finite() or not 0 <= number < 10**12 or number != int(number):
                raise InvalidInput(
                    field, value, f"{self.name} takes a whole number of {self.unit.value}, >= 0{off}"
                )
            return int(number)
        if not number.is_finite() or not 0 < number < 10**15 or number != round(number, 4):
            raise InvalidInput(
                field, value, f"{self.name} takes {self.unit.value} > 0 with at most 4 decimals{off}"
            )
        return timedelta(seconds=float(number)) if self.unit is Unit.SECONDS else number

    def text(self, limits: Limits) -> str:
        """Its value as text, as `parse` reads it."""
        value: Value = getattr(limits, self.name)
        if value is None:
            return OFF
        if isinstance(value, timedelta):
            return f"{value.total_seconds():g}"
        return f"{value:f}" if isinstance(value, Decimal) else str(value)


_WHOLE = (Unit.UNITS, Unit.ORDERS, Unit.TRIPS)

NAMED_LIMITS: Final[Mapping[str, NamedLimit]] = MappingProxyType(
    {
        limit.name: limit
        for limit in (
            NamedLimit("max_order_quantity", "order_quantity", Unit.UNITS, Reach.ANY),
            NamedLimit("max_position_quantity", "position_quantity", Unit.UNITS, Reach.ANY),
            NamedLimit("max_order_value", "order_value", Unit.RUPEES, Reach.ANY),
            NamedLimit(
                "max_position_value", "position_value", Unit.RUPEES, Reach.INSTRUMENT, account_wide=True
            ),
            NamedLimit("max_gross_exposure", "gross_exposure", Unit.RUPEES, Reach.ACCOUNT, account_wide=True),
            NamedLimit("max_open_orders", "open_orders", Unit.ORDERS, Reach.ACCOUNT, account_wide=True),
            NamedLimit("max_daily_trades", "daily_trades", Unit.ORDERS, Reach.ACCOUNT, counted=True),
            NamedLimit(
                "max_strategy_daily_trades", "daily_trades", Unit.ORDERS, Reach.STRATEGY, counted=True
            ),
            NamedLimit(
                "max_daily_loss", "daily_loss", Unit.RUPEES, Reach.ACCOUNT, account_wide=True, counted=True
            ),
            NamedLimit("max_order_rate", "order_rate", Unit.ORDERS, Reach.ACCOUNT, counted=True),
            NamedLimit("max_strategy_order_rate", "order_rate", Unit.ORDERS, Reach.STRATEGY, counted=True),
            NamedLimit("order_rate_window", "order_rate", Unit.SECONDS, Reach.ACCOUNT, may_be_off=False),
            NamedLimit("duplicate_window", "duplicate_signal", Unit.SECONDS, Reach.ANY, counted=True),
            NamedLimit("cooldown_losses", "cooldown", Unit.TRIPS, Reach.ANY, counted=True),
            NamedLimit("cooldown", "cooldown", Unit.SECONDS, Reach.ANY, may_be_off=False),
        )
    }
)

ACCOUNT_WIDE: Final = tuple(name for name, limit in NAMED_LIMITS.items() if limit.account_wide)
"""Names of the limits that take the account's other positions, and their prices, to measure."""

COUNTED: Final = tuple(name for name, limit in NAMED_LIMITS.items() if limit.counted)
"""Names of the limits that take what is kept of orders and fills to measure."""


def named_limit(name: str, field: str) -> NamedLimit:
    """The limit of a name.

    Raises:
        UnknownName: there is none.
    """
    known = NAMED_LIMITS.get(name)
    if known is None:
        raise UnknownName(field, name, NAMED_LIMITS)
    return known
