"""The correlation id of the current call or record: set where it enters a process, added to log lines and calls."""

from __future__ import annotations

from contextvars import ContextVar

current_correlation_id: ContextVar[str] = ContextVar("current_correlation_id", default="")
"""A UUID as text; empty outside of calls and records."""
