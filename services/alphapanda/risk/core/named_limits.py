"""The limits of all rules by their names."""

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
"""Name of the rule that reads a limit, by the limit's name."""

ACCOUNT_WIDE: Final = tuple(limit for limit in NAMED_LIMITS.values() if limit.account_wide)
"""The limits that take the account's other positions, and their prices, to measure."""

COUNTED: Final = tuple(limit for limit in NAMED_LIMITS.values() if limit.counted)
"""The limits that take what is kept of orders and fills to measure."""


def named_limit(name: str, field: str) -> Limit[Any]:
    """The limit of a name.

    Raises:
        UnknownName: there is none.
    """
    known = NAMED_LIMITS.get(name)
    if known is None:
        raise UnknownName(field, name, NAMED_LIMITS)
    return known
