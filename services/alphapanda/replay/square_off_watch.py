"""When square-offs have to be checked next."""

from __future__ import annotations

from datetime import time
from typing import Final

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.frame import instant, nanoseconds
from alphapanda.risk.core.square_off import earliest_cut_off

DAY_NS: Final = 86_400_000_000_000
IST_NS: Final = 19_800_000_000_000


class SquareOffWatch:
    """Computes when square-offs have to be checked next, so that they aren't checked at every frame.

    One can become due only at the day's first cut-off, or while a MIS position is open after the cut-off or from an
    earlier day.

    Attributes:
        next_ns: market time of the next check, nanoseconds since the epoch.
    """

    def __init__(self, calendar: TradingCalendar, cut_off: time) -> None:
        self._calendar = calendar
        self._cut_off = cut_off
        self.next_ns = 0

    def opened(self, market_time_ns: int) -> None:
        """Has what was opened after the day's cut-off checked at once; before it, the cut-off is still to come."""
        if (self.next_ns + IST_NS) // DAY_NS != (market_time_ns + IST_NS) // DAY_NS:
            self.next_ns = min(self.next_ns, market_time_ns)

    def checked(self, market_time_ns: int, *, intraday_open: bool) -> None:
        """Records a check at this market time; `intraday_open`: a MIS position is still open."""
        if intraday_open:
            self.next_ns = market_time_ns
            return
        cut_off = earliest_cut_off(instant(market_time_ns), self._calendar, self._cut_off)
        tomorrow = (market_time_ns + IST_NS) // DAY_NS * DAY_NS + DAY_NS - IST_NS
        at = nanoseconds(cut_off) if cut_off is not None else tomorrow
        self.next_ns = at if market_time_ns < at else tomorrow
