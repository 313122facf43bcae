"""All connections of an app to Kite's WebSocket, up to three, as one stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from alphapanda.kite.subscriptions import MOST_CONNECTIONS, Allocation, Modes
from alphapanda.kite.ticker import TickerConnection, TickerState, TickerStatus
from alphapanda.resilience.tasks import kept_running

_SHOWN: Final = 5

_log = structlog.get_logger(__name__)


class TickerPool:
    """Spreads instruments over connections; opens no more of them than are needed.

    Args:
        connection: makes the connection of a number.
        connections: how many there may be.
        most_tokens: instruments on one; None: as many as Kite allows.

    Attributes:
        streamed: what each connection streams.
    """

    def __init__(
        self,
        connection: Callable[[int], TickerConnection],
        connections: int = MOST_CONNECTIONS,
        most_tokens: int | None = None,
    ) -> None:
        self._connections = [connection(number) for number in range(connections)]
        self._allocation = (
            Allocation(connections) if most_tokens is None else Allocation(connections, most_tokens)
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.streamed: Sequence[Modes] = [{} for _ in range(connections)]

    @property
    def statuses(self) -> Sequence[TickerStatus]:
        """Each connection as it is now."""
        return [each.status for each in self._connections]

    @property
    def left_out(self) -> Sequence[int]:
        """Tokens for which there is no room."""
        return self._allocation.left_out

    @property
    def problem(self) -> str:
        """Why something that is wanted doesn't come, in one line; empty where all of it does."""
        for number, status in enumerate(self.statuses):
            if status.state not in {TickerState.IDLE, TickerState.CONNECTED}:
                said = status.last_error or status.state.value.replace("_", " ")
                return f"connection {number + 1} of the ticker: {said}"
        if self.left_out:
            return _too_many(self.left_out)
        return ""

    def want(self, wanted: Modes) -> None:
        """Sets what is to be streamed, the most important first."""
        left_out = set(self._allocation.left_out)
        self.streamed = self._allocation.allocate(wanted)
        for connection, modes in zip(self._connections, self.streamed, strict=True):
            connection.want(modes)
        if set(self.left_out) - left_out:
            _log.error("ticker.instruments_left_out", alarm=True, error=_too_many(self.left_out))

    async def start(self) -> None:
        """Begins to connect; returns at once."""
        self._tasks = [
            kept_running(each.run, f"ticker {number}", _log) for number, each in enumerate(self._connections)
        ]

    async def stop(self) -> None:
        """Closes all connections."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []


def _too_many(left_out: Sequence[int]) -> str:
    named = ", ".join(map(str, left_out[:_SHOWN])) + (" …" if len(left_out) > _SHOWN else "")
    return (
        f"{len(left_out)} instruments have no room on the ticker's connections and get no prices (tokens {named});"
        " stop strategies or watch fewer"
    )
