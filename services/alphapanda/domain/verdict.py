"""What risk says. An approved order is a type of its own, so that what was not vetted can't be passed on."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum

from msgspec import Struct

from alphapanda.domain.order import OrderType, PositionEffect, Product, Side
from alphapanda.domain.signal import PositionKey


class RuleOutcome(IntEnum):
    """What one rule said; numbered as in panda.common.v1."""

    PASSED = 1
    FAILED = 2
    CLAMPED = 3
    WAIVED = 4
    NOT_APPLICABLE = 5


class RuleResult(Struct, frozen=True):
    """One line of a verdict: the rule, its limit and what was observed, as text for a person.

    `outcome` is None where the event has no word known here.
    """

    rule: str
    outcome: RuleOutcome | None
    limit: str = ""
    observed: str = ""
    message: str = ""


class Approved(Struct, frozen=True):
    """A signal let through as an order of `quantity` units (> 0)."""

    signal_id: str
    correlation_id: str
    key: PositionKey
    instrument_token: int
    config_revision: int
    side: Side
    quantity: int
    order_type: OrderType
    effect: PositionEffect
    valid_until: datetime
    decided_at: datetime | None
    rules: tuple[RuleResult, ...]

    @property
    def product(self) -> Product:
        """Product of the position."""
        return self.key.product


class Refused(Struct, frozen=True):
    """A signal refused.

    `reason` is one word in capitals; `message` one sentence; `largest_quantity` the most units, in whole lots, with
    which the same order would have passed, 0 where none would.
    """

    signal_id: str
    correlation_id: str
    key: PositionKey
    instrument_token: int
    config_revision: int
    reason: str
    message: str
    decided_at: datetime | None
    rules: tuple[RuleResult, ...]
    largest_quantity: int = 0


Verdict = Approved | Refused
