"""The exchange's own count of requests, by its own clock: per calendar second, minute and day."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.kite_exchange.clock import SECOND_NS, Clock
from tests.kite_exchange.errors import KiteError, too_many

PER_SECOND: Final = {"quote": 1, "historical": 3, "order": 10, "other": 10}
ORDERS_A_MINUTE: Final = 400
ORDERS_A_DAY: Final = 5_000
MODIFICATIONS: Final = 25
_IST_NS: Final = 19_800 * SECOND_NS


@dataclass(slots=True)
class Limits:
    """Counts requests and refuses those over a limit.

    An order request counts to the user's second, minute and day, whether it is refused or not; the others to the app's second.

    Attributes:
        clock: the exchange's clock.
        enforced: whether what is over is refused; it is counted all the same.
        refused: requests over a limit, by kind.
        busiest: the most requests of one calendar second, by kind.
    """

    clock: Clock
    enforced: bool = True
    refused: Counter[str] = field(default_factory=Counter)
    busiest: Counter[str] = field(default_factory=Counter)
    _seconds: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    _days: Counter[tuple[str, int]] = field(default_factory=Counter)

    def count(self, kind: str, who: str) -> None:
        """Counts a request of a kind ("quote", "historical", "order", "other") of an app, or for orders of a user.

        Raises:
            KiteError: 429: a limit is used up; 400: the day's orders are.
        """
        if kind == "order":
            self.count_orders(who, 1)
            self._within("minute", who, 60, ORDERS_A_MINUTE)
        self._within(kind, who, 1, PER_SECOND[kind])

    def count_orders(self, user: str, orders: int) -> None:
        """Counts orders to the user's day; the legs of an iceberg each count.

        Raises:
            KiteError: 400: the day's orders are used up.
        """
        day = (self.clock.ns() + _IST_NS) // (86_400 * SECOND_NS)
        self._days[user, day] += orders
        if self._days[user, day] > ORDERS_A_DAY:
            self._refuse("day", KiteError(400, "InputException", "Maximum allowed order requests exceeded."))

    def orders_today(self, user: str) -> int:
        """The order requests of a user's day."""
        return self._days[user, (self.clock.ns() + _IST_NS) // (86_400 * SECOND_NS)]

    def _within(self, kind: str, who: str, seconds: int, most: int) -> None:
        window = self.clock.ns() // (seconds * SECOND_NS)
        began, counted = self._seconds.get((kind, who), (window, 0))
        counted = counted + 1 if began == window else 1
        self._seconds[kind, who] = (window, counted)
        self.busiest[kind] = max(self.busiest[kind], counted)
        if counted > most:
            self._refuse(kind, too_many())

    def _refuse(self, kind: str, error: KiteError) -> None:
        self.refused[kind] += 1
        if self.enforced:
            raise error
