"""What the current call or record belongs to: set where it enters a process, added to log lines, and to calls."""

from __future__ import annotations

from contextvars import ContextVar

current_correlation_id: ContextVar[str] = ContextVar("current_correlation_id", default="")
"""A UUID as text; empty outside of calls and records."""

current_service: ContextVar[str] = ContextVar("current_service", default="")
"""Short name of the service that works, such as "risk": one process may hold several. Tasks inherit it."""

current_broker: ContextVar[str] = ContextVar("current_broker", default="")
"""Broker namespace of the record or request; empty where it has none."""
