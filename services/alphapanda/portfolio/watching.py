"""WatchPortfolio: the account now, then every fill with the account after it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from alphapanda.mesh.deadlines import watch_established
from alphapanda.mesh.watches import Revisions, check_reachable
from alphapanda.portfolio.messages import PortfolioMessages
from alphapanda.portfolio.reader import PortfolioReader
from alphapanda.portfolio.store.port import AccountName, PortfolioStore
from panda.portfolio.v1 import portfolio_pb2 as portfolio

FILLS_IN_MESSAGE = 200


class PortfolioWatches:
    """Makes watches on accounts.

    Args:
        store: fills, by revision.
        reader: reads accounts.
        messages: converts books to messages.
        revisions: waits until an account's revision has risen.
    """

    def __init__(
        self,
        store: PortfolioStore,
        reader: PortfolioReader,
        messages: PortfolioMessages,
        revisions: Revisions[AccountName],
    ) -> None:
        self._store = store
        self._reader = reader
        self._messages = messages
        self._revisions = revisions

    async def watch(
        self, name: AccountName, now: portfolio.Portfolio, after_revision: int, mark_interval: float | None
    ) -> AsyncIterator[portfolio.WatchPortfolioResponse]:
        """The messages of one watch on an open account, until the server drains.

        Args:
            name: the account.
            now: the account's present portfolio.
            after_revision: continues after this revision; 0: begins with `now`.
            mark_interval: seconds between messages at new prices while no fill comes; None: none are sent.

        Raises:
            OutOfRange: the watch can't continue after that revision.
        """
        at = after_revision
        if at:
            check_reachable(at, now.revision)
            watch_established()
        else:
            at = now.revision
            yield portfolio.WatchPortfolioResponse(revision=at, portfolio=now)
        while not self._revisions.draining:
            moved = await self._revisions.beyond(name, at, mark_interval)
            if self._revisions.draining:
                break
            latest = await self._reader.portfolio(name)
            if latest is None:
                break
            if moved or latest.revision > at:
                async for message in self._changes(name, at, latest):
                    yield message
                at = latest.revision
            else:
                yield portfolio.WatchPortfolioResponse(revision=at, portfolio=latest)
        yield portfolio.WatchPortfolioResponse(revision=at, draining=True)

    async def _changes(
        self, name: AccountName, at: int, latest: portfolio.Portfolio
    ) -> AsyncIterator[portfolio.WatchPortfolioResponse]:
        """The fills after revision `at`; the last message also has the portfolio after them."""
        while at < latest.revision:
            wanted = min(latest.revision - at, FILLS_IN_MESSAGE)
            found = await self._store.fills_after(name, at, wanted)
            fills = [fill for fill in found if fill.revision <= latest.revision]
            # Not every revision is a fill's: a contract note's corrections have theirs.
            at = fills[-1].revision if len(fills) == wanted else latest.revision
            yield portfolio.WatchPortfolioResponse(
                revision=at,
                portfolio=latest if at == latest.revision else None,
                fills=[self._messages.fill(fill) for fill in fills],
            )
