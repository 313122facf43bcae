"""Limits set for an account, a strategy or an instrument; for each name the narrowest scope wins."""

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
    """The scope of a limit within an account; an empty field means any, both empty the whole account."""

    strategy_id: str = ""
    instrument_id: str = ""

    @property
    def text(self) -> str:
        """The scope in words, such as "strategy trend, instrument NSE:INFY"."""
        parts = []
        if self.strategy_id:
            parts.append(f"strategy {self.strategy_id}")
        if self.instrument_id:
            parts.append(f"instrument {self.instrument_id}")
        return ", ".join(parts) or "account"

    def require(self, limit: Limit[Any], where: str) -> None:
        """Requires that a limit may be set at this scope.

        Raises:
            InvalidInput: it may not.
        """
        reach = limit.reach
        strategy = not self.strategy_id or reach in (Reach.STRATEGY, Reach.ANY)
        instrument = not self.instrument_id or reach in (Reach.INSTRUMENT, Reach.ANY)
        if not (strategy and instrument):
            raise InvalidInput(where, limit.name, f"it is set for {reach.value}, not for {self.text}")


@dataclass(frozen=True, slots=True)
class SetLimit:
    """A limit that was set at a scope.

    Attributes:
        scope: the scope.
        limit: the limit.
        text: its value, as it was set.
        version: version of the account's limits that set it.
        author: who set it.
        changed_at: wall time of the change; None if it came from a file.
    """

    scope: LimitScope
    limit: Limit[Any]
    text: str
    version: int = 0
    author: str = ""
    changed_at: datetime | None = None

    @property
    def name(self) -> str:
        """Name of the limit."""
        return self.limit.name


@dataclass(frozen=True, slots=True)
class ScopedLimits:
    """The limits set for one account, which override those of the settings.

    Attributes:
        version: 0 if nothing was ever set, then 1, 2, 3 ….
        rows: the limits set, at most one for each scope and name.
        halts: why entries are refused in an instrument, by its id: the broker's books differ from ours there.
        halts_revision: number of the reconciliation that said so; 0 before the first.
    """

    version: int = 0
    rows: tuple[SetLimit, ...] = ()
    halts: Mapping[str, str] = field(default_factory=dict)
    halts_revision: int = 0
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
        """The limits in force for a strategy and an instrument; an empty id means none in particular."""
        if not self.rows:
            return defaults
        whose = (defaults, strategy_id, instrument_id)
        limits = self._effective.get(whose)
        if limits is None:
            limits = self._effective[whose] = self._merged(*whose)
        return limits

    def may_set(self, limits: tuple[Limit[Any], ...], defaults: Limits) -> bool:
        """Whether any of these limits is set at some scope of the account, or by default."""
        return _any_set(defaults, limits) or any(
            value is not None for limit in limits for value in self._values.get(limit.name, {}).values()
        )

    def in_force(self, name: str, strategy_id: str, instrument_id: str) -> SetLimit | None:
        """The limit set at the narrowest scope for a strategy and an instrument (empty: any); None if none is set."""
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
    """The scopes from the narrowest to the widest; an instrument is narrower than a strategy."""
    yield LimitScope(strategy_id, instrument_id)
    yield LimitScope("", instrument_id)
    yield LimitScope(strategy_id, "")
    yield LimitScope()
