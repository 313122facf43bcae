"""The values of the limits that rules enforce."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time, timedelta
from typing import Any

from typing_extensions import override

from alphapanda.risk.core.limit import Limit, V, Value

FREEZE_SLICES = 10
"""Maximum number of slices, each at most the freeze quantity, into which trading splits one entry."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits in force for a position.

    Attributes:
        price_max_age: market time after which a price is stale.
        mis_cut_off: the exchange's local time from which MIS positions may only be reduced.
        values: values of the rules' limits by name; a limit that is absent or None is off, or has its default if it
            can't be off.
    """

    price_max_age: timedelta
    mis_cut_off: time
    values: Mapping[str, Value] = field(default_factory=dict)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = {name: value for name, value in self.values.items() if value is not None}
        object.__setattr__(self, "values", values)
        # Computed once: the rules in force are looked up by this hash for every signal.
        object.__setattr__(
            self, "_hash", hash((self.price_max_age, self.mis_cut_off, frozenset(values.items())))
        )

    def of(self, limit: Limit[V]) -> V | None:
        """A limit's value; None if it isn't enforced."""
        value: Any = self.values.get(limit.name)
        return value if value is not None or limit.may_be_off else limit.default

    def required(self, limit: Limit[V]) -> V:
        """The value of a limit that can't be off."""
        value = self.of(limit)
        if value is None:
            raise ValueError(f"{limit.name} has no default, and may be off")
        return value

    def with_values(self, values: Mapping[str, Value]) -> Limits:
        """These limits with other values by name; None turns one off."""
        return Limits(self.price_max_age, self.mis_cut_off, {**self.values, **values})

    @override
    def __hash__(self) -> int:
        return self._hash
