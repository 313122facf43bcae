"""Verdicts of risk. Approved is a type of its own, so a signal that risk hasn't approved can't be passed to trading."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import IntEnum

from msgspec import Struct
from typing_extensions import override

from alphapanda.domain.order import PositionEffect, Product, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import Protection, Terms


class RuleOutcome(IntEnum):
    """The outcome of one rule; numbered as in panda.common.v1."""

    PASSED = 1
    FAILED = 2
    CLAMPED = 3
    WAIVED = 4
    NOT_APPLICABLE = 5


Text = str | Callable[[], str]
"""A text, or a function that makes it when it is read, because a replay reads few of them."""


class RuleResult(Struct, frozen=True, gc=False, eq=False):
    """The result of one rule in a verdict: outcome, limit and observed value, as text for a person.

    Attributes:
        rule: the rule's registered name.
        outcome: its outcome; None if the event has a value unknown to this version.
        limit_text: the rule's limit, or a function that makes it of values that don't change.
        observed_text: the same for the value that the rule observed.
        message: one sentence; may be empty.
    """

    rule: str
    outcome: RuleOutcome | None
    limit_text: Text = ""
    observed_text: Text = ""
    message: str = ""

    @property
    def limit(self) -> str:
        """The rule's limit."""
        return self.limit_text if isinstance(self.limit_text, str) else self.limit_text()

    @property
    def observed(self) -> str:
        """The value that the rule observed."""
        return self.observed_text if isinstance(self.observed_text, str) else self.observed_text()

    def _parts(self) -> tuple[object, ...]:
        return self.rule, self.outcome, self.limit, self.observed, self.message

    @override
    def __eq__(self, other: object) -> bool:
        return self._parts() == other._parts() if isinstance(other, RuleResult) else NotImplemented

    @override
    def __ne__(self, other: object) -> bool:
        return not self == other  # a Struct's own says that no two are equal

    @override
    def __hash__(self) -> int:
        return hash(self._parts())

    @override
    def __repr__(self) -> str:
        rule, outcome, limit, observed, message = self._parts()
        return f"RuleResult({rule=}, {outcome=}, {limit=}, {observed=}, {message=})"


class Approved(Struct, frozen=True, gc=False):
    """A signal that risk approved as an order of `quantity` units (> 0)."""

    signal_id: str
    correlation_id: str
    key: PositionKey
    instrument_token: int
    config_revision: int
    side: Side
    quantity: int
    terms: Terms
    effect: PositionEffect
    valid_until: datetime
    decided_at: datetime | None
    rules: tuple[RuleResult, ...]
    protection: Protection | None = None

    @property
    def product(self) -> Product:
        """The position's product."""
        return self.key.product


class Refused(Struct, frozen=True, gc=False):
    """A signal that risk refused.

    `reason` is one word in capitals and `message` one sentence. `largest_quantity` is the largest quantity, in whole lots,
    with which the same order would have passed; 0 if none would.
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
