"""Limits set for an account, a strategy or an instrument: the most specific one wins, name by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache

from alphapanda.domain.errors import InvalidInput
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.named_limits import NamedLimit, Reach, Value, named_limit


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

    def require(self, limit: NamedLimit, where: str) -> None:
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
        name: one of NAMED_LIMITS.
        text: its value as it was set.
        version: of the account's limits that set it.
        author: who set it.
        changed_at: wall time; None where it came from a file.
    """

    scope: LimitScope
    name: str
    text: str
    version: int = 0
    author: str = ""
    changed_at: datetime | None = None


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
            value = named_limit(row.name, "limits").parse(row.text, "limits")
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

    def may_set(self, names: tuple[str, ...], defaults: Limits) -> bool:
        """Whether one of these limits may be in force anywhere in the account."""
        return _any_set(defaults, names) or any(
            value is not None for name in names for value in self._values.get(name, {}).values()
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
        return replace(defaults, **changes)  # type: ignore[arg-type]


NOTHING_SET = ScopedLimits()


@lru_cache(maxsize=256)
def _any_set(limits: Limits, names: tuple[str, ...]) -> bool:
    return any(getattr(limits, name) is not None for name in names)


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A change that somebody asks for.

    Attributes:
        scope: of what.
        to_set: value by name, as text.
        to_clear: names whose next wider scope is to hold again.
        author: who asks.
        reason: why, one sentence.
        at: wall time.
    """

    scope: LimitScope
    to_set: Mapping[str, str]
    to_clear: tuple[str, ...]
    author: str
    reason: str
    at: datetime


def changed(stands: ScopedLimits, change: LimitChange) -> ScopedLimits:
    """The next version of an account's limits.

    Raises:
        InvalidInput: an unknown name, a value it doesn't take, a scope at which it means nothing, a name both set and
            cleared, one to be cleared that isn't set, or nothing to do.
    """
    scope, version = change.scope, stands.version + 1
    if not change.to_set and not change.to_clear:
        raise InvalidInput("set", "", "name at least one limit to set or to clear")
    for name in change.to_clear:
        scope.require(named_limit(name, "clear"), "clear")
        if name in change.to_set:
            raise InvalidInput("clear", name, "a limit is set or cleared, not both")
        if not any(row.scope == scope and row.name == name for row in stands.rows):
            raise InvalidInput("clear", name, f"it isn't set for {scope.text}")
    made = []
    for name, text in sorted(change.to_set.items()):
        limit = named_limit(name, "set")
        scope.require(limit, "set")
        limit.parse(text, f"set.{name}")
        made.append(SetLimit(scope, name, text, version, change.author, change.at))
    gone = {*change.to_set, *change.to_clear}
    kept = [row for row in stands.rows if row.scope != scope or row.name not in gone]
    return ScopedLimits(version, tuple(sorted([*kept, *made], key=lambda row: (row.scope, row.name))))


def _narrowest_first(strategy_id: str, instrument_id: str) -> Iterator[LimitScope]:
    """An instrument is more specific than a strategy, both together most."""
    yield LimitScope(strategy_id, instrument_id)
    yield LimitScope("", instrument_id)
    yield LimitScope(strategy_id, "")
    yield LimitScope()
