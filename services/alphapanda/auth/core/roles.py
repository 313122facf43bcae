"""The roles that an empty database begins with; rows that administrators change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SHIPPED_ROLES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "viewer": ("Sees everything that is not secret.", ("READ",)),
    "trader": ("Places orders and runs strategies.", ("READ", "TRADE", "MANAGE_STRATEGIES")),
    "risk-manager": ("Sets limits and kill switches.", ("READ", "MANAGE_RISK")),
    "operator": ("Keeps the platform running.", ("READ", "OPERATE", "MANAGE_BROKER")),
    "admin": (
        "May do everything, and manages users.",
        (
            "READ",
            "TRADE",
            "MANAGE_STRATEGIES",
            "MANAGE_RISK",
            "OPERATE",
            "MANAGE_BROKER",
            "MANAGE_USERS",
        ),
    ),
    "service": ("A service of the mesh, for service accounts alone.", ("READ", "INTERNAL")),
}
"""Description and permissions by name."""
