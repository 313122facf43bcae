"""The limits of all rules by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from alphapanda.domain.errors import UnknownName
from alphapanda.risk.core.limit import Limit
from alphapanda.risk.core.rules import RULES

NAMED_LIMITS: Final[Mapping[str, Limit[Any]]] = MappingProxyType(
    {limit.name: limit for rule in RULES for limit in rule.declares}
)

RULE_OF: Final[Mapping[str, str]] = MappingProxyType(
    {limit.name: rule.name for rule in RULES for limit in rule.declares}
)
"""Name of the rule that enforces a limit, by the limit's name."""

ACCOUNT_WIDE: Final = tuple(limit for limit in NAMED_LIMITS.values() if limit.account_wide)
"""The limits that need the account's other positions and their prices."""

COUNTED: Final = tuple(limit for limit in NAMED_LIMITS.values() if limit.counted)
"""The limits that need history: costs, day counters, last requests."""


def named_limit(name: str, field: str) -> Limit[Any]:
    """The limit with this name.

    Raises:
        UnknownName: there is no such limit.
    """
    known = NAMED_LIMITS.get(name)
    if known is None:
        raise UnknownName(field, name, NAMED_LIMITS)
    return known
