"""The snapshots with which watches on orders begin, each made once for all watches that begin at its revision."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import OrderStatus
from alphapanda.trading.execution_context import Instruments
from alphapanda.trading.messages import order_message
from alphapanda.trading.store.port import Account, OrderFilter, StoredOrder, TradingStore
from panda.trading.v1 import trading_pb2 as trading

ORDERS_IN_MESSAGE: Final = 200
ENDED_IN_SNAPSHOT: Final = 100
MOST_KEPT: Final = 8
MOST_ORDERS_KEPT: Final = 2000
"""A snapshot of more orders isn't kept."""
_OPEN: Final = frozenset(status for status in OrderStatus if not status.is_final)
_ENDED: Final = frozenset(OrderStatus) - _OPEN
_Wanted = tuple[Account, str]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A snapshot, the revision of its account that it shows at least, and the instruments that its symbols are from."""

    revision: int
    directory: InstrumentDirectory
    messages: Sequence[trading.WatchOrdersResponse]


class OrderSnapshots:
    """Makes snapshots of accounts' orders, one at a time; the last ones made are kept until their account changes.

    A snapshot costs tens of milliseconds of processor time, and many watches begin at once when clients reconnect.

    Args:
        store: orders.
        instruments: today's instruments.
    """

    def __init__(self, store: TradingStore, instruments: Instruments) -> None:
        self._store = store
        self._instruments = instruments
        self._kept: OrderedDict[_Wanted, _Kept] = OrderedDict()
        self._making = asyncio.Lock()

    async def snapshot(
        self, account: Account, strategy_id: str, revision: int
    ) -> Sequence[trading.WatchOrdersResponse]:
        """Returns the messages of a snapshot that shows this revision of the account, or a later one.

        Args:
            account: whose orders.
            strategy_id: only this strategy's; empty: all.
            revision: the account's revision, read before.
        """
        wanted = (account, strategy_id)
        async with self._making:
            kept = self._kept.get(wanted)
            if kept is None or kept.revision != revision or kept.directory is not self._instruments():
                kept = _Kept(
                    revision, self._instruments(), [*await self._make(account, strategy_id, revision)]
                )
                self._keep(wanted, kept)
        return kept.messages

    def message(
        self, revision: int, orders: Sequence[StoredOrder], *, snapshot: bool = False
    ) -> trading.WatchOrdersResponse:
        """Returns one message of a watch."""
        return trading.WatchOrdersResponse(
            revision=revision,
            snapshot=snapshot,
            orders=[order_message(stored, self._instruments) for stored in orders],
        )

    async def _make(
        self, account: Account, strategy_id: str, revision: int
    ) -> Sequence[trading.WatchOrdersResponse]:
        ended = await self._store.newest(OrderFilter(*account, strategy_id, _ENDED), None, ENDED_IN_SNAPSHOT)
        messages = [self.message(revision, ended, snapshot=True)]
        still_open, before = OrderFilter(*account, strategy_id, _OPEN), None
        while page := await self._store.newest(still_open, before, ORDERS_IN_MESSAGE):
            messages.append(self.message(revision, page, snapshot=True))
            before = page[-1].sequence
        return messages

    def _keep(self, wanted: _Wanted, made: _Kept) -> None:
        self._kept.pop(wanted, None)
        if sum(len(message.orders) for message in made.messages) <= MOST_ORDERS_KEPT:
            self._kept[wanted] = made
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
