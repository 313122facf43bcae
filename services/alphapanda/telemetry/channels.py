"""The log channels and their loggers. A line goes to the process's own log and to its channel's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

AUDIT: Final = "alphapanda.mesh.audit"
"""Logger of commands: caller, method, outcome. Below `alphapanda.mesh`, so the channel api has these lines too."""

EVERY: Final = ""
"""The logger above all others, libraries' too."""

SLOW_HANDLERS: Final = "alphapanda.performance.handlers"
SLOW_QUERIES: Final = "alphapanda.performance.queries"

CHANNELS: Final[Mapping[str, tuple[str, ...]]] = {
    "trading": ("alphapanda.trading", "alphapanda.risk", "alphapanda.portfolio"),
    "audit": (AUDIT,),
    "performance": ("alphapanda.performance",),
    "api": ("alphapanda.mesh",),
    "database": (
        "alphapanda.storage",
        "alphapanda.storage.relay",
        "alphapanda.embedded.postgres",
        "sqlalchemy",
    ),
    "market_data": ("alphapanda.marketdata",),
    "error": (EVERY,),
}
"""Names of loggers by channel; a name includes all loggers below it."""
