"""The deadline of the RPC being served, in the event loop's time."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

answer_by: ContextVar[float | None] = ContextVar("answer_by", default=None)
"""Loop time at which the caller stops waiting; a command goes on after it."""

spend_by: ContextVar[float | None] = ContextVar("spend_by", default=None)
"""Loop time that calls to other services must not pass. Not set within a command, which outlives its caller."""

first_message_limit: ContextVar[asyncio.Timeout | None] = ContextVar("first_message_limit", default=None)
"""Time-out of the watch being served until its first message; None outside of that wait."""


def watch_established() -> None:
    """Ends the time-out of the watch being served: it is established and may have nothing to send for long."""
    if (limit := first_message_limit.get()) is not None and not limit.expired():
        limit.reschedule(None)


def seconds_to_answer() -> float | None:
    """Seconds until the caller stops waiting, 0 where it has; None outside a call."""
    return _left(answer_by.get())


def seconds_to_spend() -> float | None:
    """Seconds that a call to another service may take, 0 where there are none left; None where nothing limits it."""
    return _left(spend_by.get())


def _left(moment: float | None) -> float | None:
    return None if moment is None else max(moment - asyncio.get_running_loop().time(), 0.0)
