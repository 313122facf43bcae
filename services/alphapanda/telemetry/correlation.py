"""The correlation id of what is being done now: set at a process's edges, carried by log lines and calls."""

from __future__ import annotations

from contextvars import ContextVar

current_correlation_id: ContextVar[str] = ContextVar("current_correlation_id", default="")
"""A UUID as text; empty where nothing is being followed."""
