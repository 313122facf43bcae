"""Limits set for an account, a strategy or an instrument: the most specific one wins, name by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from alphapanda.domain.errors import InvalidInput
from alphapanda.risk.core.limit import Limit, Reach, Value
from alphapanda.risk.core.limits import Limits


@dataclass(frozen=True, slots=True, order=True)
class LimitScope:
    """What of an account a limit is for; empty means any. Both empty: the whole account."""

    strategy_id: str = ""
    instrument_id: str = ""

    @property
    def text(self) -> str:
        """In words."""
        parts = []
        if self.strategy_id:
            parts.append(f"strategy {self.strategy_id}")
        if self.instrument_id:
            parts.append(f"instrument {self.instrument_id}")
        return ", ".join(parts) or "account"

    def require(self, limit: Limit[Any], where: str) -> None:
        """Refuses a limit that means nothing at this scope.

        Raises:
            InvalidInput: it does not.
        """
        reach = limit.reach
        strategy = not self.strategy_id or reach in (Reach.STRATEGY, Reach.ANY)
        instrument = not self.instrument_id or reach in (Reach.INSTRUMENT, Reach.ANY)
        if not (strategy and instrument):
            raise InvalidInput(where, limit.name, f"it is set for {reach.value}, not for {self.text}")


@dataclass(frozen=True, slots=True)
class SetLimit:
    """A limit in force at a scope.

    Attributes:
        scope: of what.
        limit: which.
        text: its value as it was set.
        version: of the account's limits that set it.
        author: who set it.
        changed_at: wall time; None where it came from a file.
    """

    scope: LimitScope
    limit: Limit[Any]
    text: str
    version: int = 0
    author: str = ""
    changed_at: datetime | None = None

    @property
    def name(self) -> str:
        """The limit's."""
        return self.limit.name


@dataclass(frozen=True, slots=True)
class ScopedLimits:
    """What is set for one account, over the limits of the settings.

    Attributes:
        version: 0 where nothing was ever set, then 1, 2, 3 ….
        rows: what is in force, at most one a scope and name.
    """

    version: int = 0
    rows: tuple[SetLimit, ...] = ()
    _values: Mapping[str, Mapping[LimitScope, Value]] = field(init=False, repr=False, compare=False)
    _effective: dict[tuple[Limits, str, str], Limits] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        values: dict[str, dict[LimitScope, Value]] = {}
        for row in self.rows:
            value = row.limit.parse(row.text, "limits")
            values.setdefault(row.name, {})[row.scope] = value
        object.__setattr__(self, "_values", values)

    def over(self, defaults: Limits, strategy_id: str = "", instrument_id: str = "") -> Limits:
        """The limits for a strategy and an instrument; empty: none in particular."""
        if not self.rows:
            return defaults
        whose = (defaults, strategy_id, instrument_id)
        limits = self._effective.get(whose)
        if limits is None:
            limits = self._effective[whose] = self._merged(*whose)
        return limits

    def may_set(self, limits: tuple[Limit[Any], ...], defaults: Limits) -> bool:
        """Whether one of these limits may be in force anywhere in the account."""
        return _any_set(defaults, limits) or any(
            value is not None for limit in limits for value in self._values.get(limit.name, {}).values()
        )

    def in_force(self, name: str, strategy_id: str, instrument_id: str) -> SetLimit | None:
        """The row that wins for a strategy and an instrument (empty: none in particular); None where none is set."""
        rows = {row.scope: row for row in self.rows if row.name == name}
        return next((rows[s] for s in _narrowest_first(strategy_id, instrument_id) if s in rows), None)

    def _merged(self, defaults: Limits, strategy_id: str, instrument_id: str) -> Limits:
        changes: dict[str, Value] = {}
        for name, values in self._values.items():
            for scope in _narrowest_first(strategy_id, instrument_id):
                if scope in values:
                    changes[name] = values[scope]
                    break
        return defaults.with_values(changes)


NOTHING_SET = ScopedLimits()


@lru_cache(maxsize=256)
def _any_set(defaults: Limits, limits: tuple[Limit[Any], ...]) -> bool:
    return any(defaults.of(limit) is not None for limit in limits)


def _narrowest_first(strategy_id: str, instrument_id: str) -> Iterator[LimitScope]:
    """An instrument is more specific than a strategy, both together most."""
    yield LimitScope(strategy_id, instrument_id)
    yield LimitScope("", instrument_id)
    yield LimitScope(strategy_id, "")
    yield LimitScope()
