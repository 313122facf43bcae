"""The caller of the current RPC: set by the server's guard, read by servicers that remember commands."""

from __future__ import annotations

from contextvars import ContextVar

LOCAL = "local"
"""The caller where authentication is off (loopback only)."""

current_caller: ContextVar[str] = ContextVar("current_caller", default=LOCAL)
