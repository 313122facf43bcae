"""What risk says. An approved order is a type of its own, so that what was not vetted can't be passed on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import IntEnum

from msgspec import Struct
from typing_extensions import override

from alphapanda.domain.order import OrderType, PositionEffect, Product, Side
from alphapanda.domain.signal import PositionKey


class RuleOutcome(IntEnum):
    """What one rule said; numbered as in panda.common.v1."""

    PASSED = 1
    FAILED = 2
    CLAMPED = 3
    WAIVED = 4
    NOT_APPLICABLE = 5


Text = str | Callable[[], str]
"""A text, or what makes it when somebody reads it: a replay reads few of those that its rules give."""


class RuleResult:
    """One line of a verdict: the rule, its limit and what was observed, as text for a person. Never changed.

    Attributes:
        rule: its registered name.
        outcome: what it said; None where the event has no word known here.
        message: one sentence; empty where there is nothing to say.
    """

    __slots__ = ("_limit", "_observed", "message", "outcome", "rule")

    def __init__(
        self,
        rule: str,
        outcome: RuleOutcome | None,
        limit: Text = "",
        observed: Text = "",
        message: str = "",
    ) -> None:
        """A text that is made later has to come from values that don't change."""
        self.rule = rule
        self.outcome = outcome
        self._limit = limit
        self._observed = observed
        self.message = message

    @property
    def limit(self) -> str:
        """What it allows."""
        return self._limit if isinstance(self._limit, str) else self._limit()

    @property
    def observed(self) -> str:
        """What it saw."""
        return self._observed if isinstance(self._observed, str) else self._observed()

    def _parts(self) -> tuple[object, ...]:
        return self.rule, self.outcome, self.limit, self.observed, self.message

    @override
    def __eq__(self, other: object) -> bool:
        return self._parts() == other._parts() if isinstance(other, RuleResult) else NotImplemented

    @override
    def __hash__(self) -> int:
        return hash(self._parts())

    @override
    def __repr__(self) -> str:
        rule, outcome, limit, observed, message = self._parts()
        return f"RuleResult({rule=}, {outcome=}, {limit=}, {observed=}, {message=})"


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
