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


class RuleResult:
    """The result of one rule in a verdict: outcome, limit and observed value, as text for a person. Immutable.

    Attributes:
        rule: the rule's registered name.
        outcome: its outcome; None if the event has a value unknown to this version.
        message: one sentence; may be empty.
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
        """Makes a result; a function for `limit` or `observed` must use only values that don't change."""
        self.rule = rule
        self.outcome = outcome
        self._limit = limit
        self._observed = observed
        self.message = message

    @property
    def limit(self) -> str:
        """The rule's limit."""
        return self._limit if isinstance(self._limit, str) else self._limit()

    @property
    def observed(self) -> str:
        """The value that the rule observed."""
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
