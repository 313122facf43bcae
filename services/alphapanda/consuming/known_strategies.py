"""The names of all strategies and of their accounts, from the control topic: a mistyped one is refused, not believed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final

from alphapanda.domain.errors import UnknownName
from alphapanda.domain.signal import FOREIGN, MANUAL
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line, is_transient
from panda.events.v1.events_pb2 import Event

PAYLOAD: Final = "strategy_changed"
"""Payload of the topic that names them."""

GRACE_SECONDS: Final = 0.5
"""How long an unknown name is waited for: a strategy's creation is answered before its event is on the topic."""

_LOOK_SECONDS: Final = 0.05


async def _not_followed() -> bool:
    return False


class KnownStrategies:
    """Every strategy that there ever was; a deleted one still has its positions.

    Args:
        grace_seconds: how long an unknown name is waited for.
    """

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self._accounts: dict[str, str] = {}
        self._settled: Callable[[], Awaitable[bool]] = _not_followed
        self._grace = grace_seconds

    async def apply(self, event: Event) -> None:
        """Learns from a StrategyChanged event."""
        changed = event.strategy_changed
        self._accounts[changed.strategy_id] = changed.account

    def follow(self, settled: Callable[[], Awaitable[bool]]) -> None:
        """Sets what says whether everything on the topic was applied; it raises where the log can't be read."""
        self._settled = settled

    @property
    def accounts(self) -> Collection[str]:
        """The accounts that strategies trade."""
        return {account for account in self._accounts.values() if account}

    async def verify(self, field: str, strategy_id: str, others: Iterable[str] = ()) -> str:
        """Checks that a strategy exists; empty, "manual" and "foreign" always do.

        Args:
            field: the field that names it, for the error.
            strategy_id: the name.
            others: names that exist besides.

        Returns:
            An empty text, or one sentence that says why this can't be told now.

        Raises:
            UnknownName: there is no such strategy; the error suggests the nearest name.
        """
        also = {"", MANUAL, FOREIGN, *others}
        if strategy_id in also or strategy_id in self._accounts:
            return ""
        until = asyncio.get_running_loop().time() + self._grace
        unread = "the list of strategies isn't up to date"
        settled = False

        async def look() -> None:
            nonlocal settled
            settled = False
            settled = await self._settled()

        while True:
            if error := await attempted(look()):
                if not is_transient(error):
                    raise error
                unread = f"the list of strategies can't be read ({in_one_line(error)})"
            if strategy_id in self._accounts:
                return ""
            if asyncio.get_running_loop().time() >= until:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        if settled:
            raise UnknownName(field, strategy_id, {*self._accounts, *also} - {""})
        return f"unverified: {unread}, so it isn't known whether there is a strategy {strategy_id!r}"
