"""The declaration of a limit: its name, its unit, and where it may be set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Final, Generic, TypeVar

from alphapanda.domain.errors import InvalidInput

OFF: Final = "off"
"""The text for a limit that isn't enforced."""

Value = int | Decimal | timedelta | None
V = TypeVar("V", int, Decimal, timedelta)


class Unit(Enum):
    """The unit of a limit's value."""

    UNITS = "units"
    RUPEES = "rupees"
    ORDERS = "orders"
    TRIPS = "round trips"
    SECONDS = "seconds"


class Reach(Enum):
    """The scopes at which a limit may be set."""

    ACCOUNT = "an account"
    STRATEGY = "an account or a strategy"
    INSTRUMENT = "an account or an instrument"
    ANY = "an account, a strategy, an instrument, or both"


@dataclass(frozen=True, slots=True, eq=False)
class Limit(Generic[V]):
    """A limit that may be set in the settings, in a limits file and by UpdateLimits, under the same name.

    Attributes:
        name: as users type it; in the settings a limit in seconds ends with _seconds.
        unit: unit of its value.
        reach: scopes at which it may be set.
        means: its meaning, for the list of settings.
        default: the value if no setting gives one; None: off.
        may_be_off: False if it always has a value; it then has a default.
        account_wide: whether measuring it needs the account's other positions and their prices.
        counted: whether measuring it needs history: costs, day counters, the last request.
        least: smallest value in the settings, if it is a whole number.
    """

    name: str
    unit: Unit
    reach: Reach
    means: str
    default: V | None = None
    may_be_off: bool = True
    account_wide: bool = False
    counted: bool = False
    least: int = 0

    @property
    def setting(self) -> str:
        """Its name in the settings."""
        return f"{self.name}_seconds" if self.unit is Unit.SECONDS else self.name

    @property
    def is_whole(self) -> bool:
        """Whether its value is a whole number."""
        return self.unit in (Unit.UNITS, Unit.ORDERS, Unit.TRIPS)

    def parse(self, value: str, field: str) -> Value:
        """Parses a value from text.

        Raises:
            InvalidInput: the limit doesn't accept this value.
        """
        if value == OFF and self.may_be_off:
            return None
        off = f", or {OFF}" if self.may_be_off else ""
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        if self.is_whole:
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

    def text(self, value: Value) -> str:
        """Formats a value as text that `parse` accepts."""
        if value is None:
            return OFF
        if isinstance(value, timedelta):
            return f"{value.total_seconds():g}"
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
