"""WatchOrders: a snapshot of an account's orders, then each order that changes, in its latest state."""

from __future__ import annotations

from collections.abc import AsyncIterator

from alphapanda.mesh.deadlines import watch_established
from alphapanda.mesh.watches import Revisions, check_reachable
from alphapanda.trading.execution_context import Instruments
from alphapanda.trading.snapshots import ORDERS_IN_MESSAGE, OrderSnapshots
from alphapanda.trading.store.port import Account, TradingStore
from panda.trading.v1 import trading_pb2 as trading


class OrderWatches:
    """Makes watches on the orders of accounts.

    Args:
        store: orders, by the revision of their account.
        revisions: waits until an account's revision has risen.
        instruments: today's instruments.
    """

    def __init__(self, store: TradingStore, revisions: Revisions[Account], instruments: Instruments) -> None:
        self._store = store
        self._revisions = revisions
        self._snapshots = OrderSnapshots(store, instruments)

    async def watch(
        self, account: Account, strategy_id: str, after_revision: int
    ) -> AsyncIterator[trading.WatchOrdersResponse]:
        """The messages of one watch, until the server drains.

        Args:
            account: whose orders.
            strategy_id: only this strategy's; empty: all.
            after_revision: continues after this revision of the account; 0: begins with a snapshot.

        Raises:
            OutOfRange: the watch can't continue after that revision.
        """
        # The revision is read before the orders: a change in between is sent twice. Read afterwards, it would be lost.
        at = await self._store.account_revision(account)
        if after_revision:
            check_reachable(after_revision, at)
            at = after_revision
            watch_established()
        else:
            for message in await self._snapshots.snapshot(account, strategy_id, at):
                yield message
        while not self._revisions.draining:
            if not await self._revisions.beyond(account, at):
                break
            newest = await self._store.account_revision(account)
            changed = await self._store.changed(account, strategy_id, at, ORDERS_IN_MESSAGE)
            at = changed[-1].revision if len(changed) == ORDERS_IN_MESSAGE else newest
            if changed:
                at = max(at, changed[-1].revision)
                yield self._snapshots.message(at, [one.stored for one in changed])
        yield trading.WatchOrdersResponse(revision=at, draining=True)
