"""Options of order execution."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingOptions:
    """Timeouts of broker calls, in seconds, and the bound of manual orders.

    Attributes:
        send_window_seconds: longest time from before the commit of SUBMITTING to the call.
        call_timeout_seconds: timeout of a broker call; without an answer its intent is UNKNOWN.
        cancel_again_seconds: a cancellation without an answer is called again so long after its first look-up, if the order
            still works by then: cancelling twice does no more than cancelling once.
        batch_wait_seconds: how long a batch, or a start, waits for its orders once they are stored. Then they go on by
            themselves, so that a slow broker holds back no other order of its partition.
        manual_orders_under_way: manual orders of one account that may be under way at once.
    """

    send_window_seconds: float = 2.0
    call_timeout_seconds: float = 5.0
    cancel_again_seconds: float = 5.0
    batch_wait_seconds: float = 0.25
    manual_orders_under_way: int = 1000
