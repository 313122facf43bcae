"""Listens to the order updates of one account on Kite's WebSocket. Each is a hint to read the order, and nothing more (REAL_MONEY rule 6).

An update may be lost, doubled, late or out of order, and none comes of what the broker's risk desk does; so nothing of it is believed
but the tag of the order that it is about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog

from alphapanda.kite.options import KiteOptions
from alphapanda.kite.session import SessionFollower
from alphapanda.kite.ticker import Confirm, TickerConnection
from alphapanda.resilience.tasks import kept_running

CONNECTION: Final = 9
"""Number of the connection in log lines; those that stream ticks begin at 0."""
_log = structlog.get_logger(__name__)


class OrderUpdates:
    """Tells the tags of orders that may have changed.

    Args:
        account: our name of the account.
        options: the WebSocket's address, and waits between attempts.
        sessions: the account's session.
        confirm: asks whether a session is dead, where the WebSocket refuses it: a plan without market data has none.

    Attributes:
        told: called with the tag of each order of which an update came; empty: an order without a tag. It must return at once.
        connection: the connection.
    """

    def __init__(
        self, account: str, options: KiteOptions, sessions: SessionFollower, confirm: Confirm
    ) -> None:
        self.told: Callable[[str], None] = lambda _: None
        self._account = account
        self.connection: Final = TickerConnection(
            CONNECTION, options.ws_root, sessions, options.reconnection, self, confirm=confirm, listens=True
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to listen, and goes on through losses and new sessions."""
        self._task = kept_running(self.connection.run, f"order updates of {self._account}", _log)

    async def stop(self) -> None:
        """Stops listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def message(self, connection: int, wall_ns: int, payload: bytes) -> None:
        """Takes no ticks: nothing is subscribed."""

    def disconnected(self, connection: int, wall_ns: int) -> None:
        """Does nothing: orders that are under way are read again and again anyway."""

    def text(self, connection: int, wall_ns: int, message: dict[str, Any]) -> None:  # noqa: ARG002 - the Receiver's
        """Takes an order update; other messages are passed over."""
        order = message.get("data")
        if message.get("type") == "order" and isinstance(order, dict):
            tag = order.get("tag")
            self.told(tag if isinstance(tag, str) else "")
