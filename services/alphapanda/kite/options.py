"""Options of what speaks to Kite, as the settings `zerodha` and `reconnection` give them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

BROKER: Final = "zerodha"
"""Name of the broker."""

ORDER_MARGIN_SECONDS: Final = 20.0
"""After its caller has given up, an order may still be on its way for so long: connecting, and until its answer is given up."""


@dataclass(frozen=True, slots=True)
class KiteApp:
    """A Kite Connect app, which has one account.

    Attributes:
        account: our name of the account.
        api_key: the app's key.
        api_secret: the app's secret; only a login needs it.
    """

    account: str
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OrderBudgets:
    """How many order requests of an account may be sent; Kite counts placing, modifying and cancelling together.

    Attributes:
        per_second: in a second of Kite's clock.
        per_minute: in a minute.
        per_day: in a day in India.
        kept_percent: share of the minute's and the day's requests that only exits and cancels may use.
    """

    per_second: int = 8
    per_minute: int = 400
    per_day: int = 5000
    kept_percent: int = 25


@dataclass(frozen=True, slots=True)
class ReconnectionOptions:
    """Waits between attempts to connect a stream anew; jitter takes away up to half of each.

    Attributes:
        max_attempts: attempts in a row before it is an alarm; then one every `max_delay_seconds`.
        base_delay_seconds: wait before the first.
        backoff_multiplier: how much longer each wait is than the one before.
        max_delay_seconds: longest wait.
        timeout_seconds: longest wait until a connection stands.
    """

    max_attempts: int = 5
    base_delay_seconds: float = 1.0
    backoff_multiplier: float = 2.0
    max_delay_seconds: float = 60.0
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class KiteOptions:
    """Addresses, time-outs and limits.

    Attributes:
        login_root: where people sign in, without a path.
        api_root: where the HTTP API answers, without a path.
        ws_root: where the WebSocket answers.
        connect_timeout_seconds: longest wait for a connection to `api_root`.
        read_timeout_seconds: longest wait for an answer.
        ipv4_only: whether `api_root` is reached by IPv4 alone.
        budgets: limits of order requests, of each account.
        reconnection: waits of the WebSocket.
    """

    login_root: str = "https://kite.zerodha.com"
    api_root: str = "https://api.kite.trade"
    ws_root: str = "wss://ws.kite.trade"
    connect_timeout_seconds: float = 3.0
    read_timeout_seconds: float = 7.0
    ipv4_only: bool = True
    budgets: OrderBudgets = OrderBudgets()
    reconnection: ReconnectionOptions = ReconnectionOptions()
