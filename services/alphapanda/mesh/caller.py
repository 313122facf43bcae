"""The caller of the current RPC: set by the server's guard, read by servicers that remember commands."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alphapanda.mesh.tokens import Claims

LOCAL = "local"
"""The caller where authentication is off (loopback only)."""

current_caller: ContextVar[str] = ContextVar("current_caller", default=LOCAL)

current_claims: ContextVar[Claims | None] = ContextVar("current_claims", default=None)
"""What the caller's access token claims; None where the call came without one."""
