"""Changes of an account's limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from alphapanda.domain.errors import InvalidInput
from alphapanda.risk.core.named_limits import named_limit
from alphapanda.risk.core.scoped_limits import LimitScope, ScopedLimits, SetLimit


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A requested change of limits.

    Attributes:
        scope: the scope at which limits are set or cleared.
        to_set: new values by name, as text.
        to_clear: names of limits to remove, so that the next wider scope applies again.
        author: who requests it.
        reason: why, in one sentence.
        at: wall time.
    """

    scope: LimitScope
    to_set: Mapping[str, str]
    to_clear: tuple[str, ...]
    author: str
    reason: str
    at: datetime


def changed(current: ScopedLimits, change: LimitChange) -> ScopedLimits:
    """The next version of an account's limits.

    Raises:
        InvalidInput: an unknown name, a value that the limit doesn't accept, a scope at which it can't be set, a name both
            set and cleared, a name to be cleared that isn't set, or no name at all.
    """
    scope, version = change.scope, current.version + 1
    if not change.to_set and not change.to_clear:
        raise InvalidInput("set", "", "name at least one limit to set or to clear")
    for name in change.to_clear:
        scope.require(named_limit(name, "clear"), "clear")
        if name in change.to_set:
            raise InvalidInput("clear", name, "a limit is set or cleared, not both")
        if not any(row.scope == scope and row.name == name for row in current.rows):
            raise InvalidInput("clear", name, f"it isn't set for {scope.text}")
    made = []
    for name, text in sorted(change.to_set.items()):
        limit = named_limit(name, "set")
        scope.require(limit, "set")
        limit.parse(text, f"set.{name}")
        made.append(SetLimit(scope, limit, text, version, change.author, change.at))
    gone = {*change.to_set, *change.to_clear}
    kept = [row for row in current.rows if row.scope != scope or row.name not in gone]
    rows = tuple(sorted([*kept, *made], key=lambda row: (row.scope, row.name)))
    return replace(current, version=version, rows=rows)
