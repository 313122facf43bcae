"""What runs now, by whose load may hold it up. Each lane has connections of its own, which the others don't take."""

from __future__ import annotations

from contextvars import ContextVar
from enum import Enum, auto


class Lane(Enum):
    """Whose work it is."""

    SERVICE = auto()
    """A service's own: records of the log, orders, timers."""
    QUERY = auto()
    """A client's query or watch."""
    COMMAND = auto()
    """A client's command, or a call between services."""
    URGENT = auto()
    """A call of the contract's urgent lane, which stops trading or reduces positions."""


current_lane: ContextVar[Lane] = ContextVar("current_lane", default=Lane.SERVICE)
"""The lane of the current task; tasks that it starts inherit it."""
