"""How long trading waits for a broker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingOptions:
    """How long trading waits for a broker.

    Attributes:
        send_window_seconds: most time between the commit of SUBMITTING and the call.
        call_timeout_seconds: a broker call without an answer is UNKNOWN after this.
    """

    send_window_seconds: float = 2.0
    call_timeout_seconds: float = 5.0
