"""What a replay counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from alphapanda.domain.funds import Payable
from alphapanda.domain.order import PositionEffect
from alphapanda.domain.order_events import Cancelled, OrderUpdate
from alphapanda.domain.verdict import Refused, RuleOutcome, Verdict
from alphapanda.risk.core import sizing
from alphapanda.risk.core.rules import buying_power

_REDUCES: Final = PositionEffect.REDUCES
_NOT_PAID: Final = frozenset({RuleOutcome.FAILED, RuleOutcome.CLAMPED})
_ENTRIES_THAT_CAN_NOT_BE: Final = frozenset({buying_power.RULE.reason, sizing.REASON})


@dataclass(slots=True)
class Tally:
    """Counts of signals, verdicts, orders and fills; refusals by reason.

    Attributes:
        unpaid: entries that funds couldn't pay: refused, or rejected at the open after a gap, or flips cut to flat.
        first_unpaid: why the first of them wasn't paid.
        unsized: entries whose size in rupees or percent came to no units.
        first_unsized: why the first of them didn't.
        expired: orders that were held for the open of a next bar, of which the day had none.
        held: orders that were still held when the recording ended, and were cancelled.
        cancelled: stops and exits of protected positions that were cancelled because another exit took their place, and stops of
            carried ones whose day was over.
    """

    signals: int = 0
    validated: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    unpaid: int = 0
    first_unpaid: str = ""
    unsized: int = 0
    first_unsized: str = ""
    orders: int = 0
    fills: int = 0
    expired: int = 0
    held: int = 0
    cancelled: int = 0

    def count(self, verdict: Verdict) -> None:
        """Counts a verdict, and with it an entry that can't be."""
        if isinstance(verdict, Refused):
            self.rejected[verdict.reason] += 1
            if verdict.reason in _ENTRIES_THAT_CAN_NOT_BE:
                self._count_lost_entry(verdict)
            return
        self.validated += 1
        if verdict.effect is _REDUCES:
            self._count_lost_entry(verdict)

    def settled(self, update: OrderUpdate) -> None:
        """Counts an order that the exchange held where it ended unfilled with its day."""
        if isinstance(update, Cancelled):
            self.cancelled += update.order.protective
            self.expired += not update.order.protective

    def paid(self, paid: Payable) -> Payable:
        """Counts an entry that funds don't pay at the price at which it fills; returns what they pay."""
        if paid.message:
            self.unpaid += 1
            self.first_unpaid = self.first_unpaid or paid.message
        return paid

    def _count_lost_entry(self, verdict: Verdict) -> None:
        """Counts an entry that wasn't paid, or whose size came to no units, by the rule's result."""
        for result in verdict.rules:
            if result.rule == buying_power.NAME and result.outcome in _NOT_PAID:
                self.unpaid += 1
                self.first_unpaid = self.first_unpaid or result.message
            elif result.rule == sizing.NAME and result.outcome is RuleOutcome.FAILED:
                self.unsized += 1
                self.first_unsized = self.first_unsized or result.message
