"""The orders of one account at Zerodha: places them, and finds them by their tags in order books read for all who ask.

Kite has no id of ours but the tag, and shows an order only in the day's whole book. So those who ask at the same time share one read,
which began after each of them asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from alphapanda.kite.limiter import CallKind
from alphapanda.kite.order_rows import (
    KiteOrder,
    KiteTrade,
    UnreadableRow,
    newest_of,
    order_of,
    trades_of,
)
from alphapanda.kite.outcomes import KiteError
from alphapanda.kite.rest import KiteRest, Row
from alphapanda.kite.session import NoSession
from alphapanda.storage.group_commit import GroupCommit

REGULAR: Final = "regular"
_ASKED_TOGETHER: Final = 1000
_ONE_BY_ONE: Final = 2
"""Orders whose trades are asked for one by one; the trades of more are read together."""

Unanswered = KiteError | NoSession | UnreadableRow
"""Why a question has no answer."""


class TracedOrder(Struct, frozen=True, gc=False):
    """An order with its trades, oldest first; they may be fewer than it says, which then come later."""

    order: KiteOrder
    trades: tuple[KiteTrade, ...] = ()

    @property
    def traded(self) -> int:
        """Units of the trades."""
        return sum(trade.quantity for trade in self.trades)

    @property
    def is_whole(self) -> bool:
        """Whether no trade that the order counts is missing."""
        return self.traded >= self.order.filled


class KiteOrders:
    """Places and finds an account's orders.

    Args:
        rest: the account's HTTP API.

    Attributes:
        twice: tags that two orders of the newest book have.
    """

    def __init__(self, rest: KiteRest) -> None:
        self.rest = rest
        self.twice: set[str] = set()
        self._known: dict[str, KiteOrder] = {}
        self._trades: dict[str, tuple[KiteTrade, ...]] = {}
        self._looking: GroupCommit[str, TracedOrder | Unanswered | None] = GroupCommit(
            self._look_up, _ASKED_TOGETHER
        )
        self._reading: GroupCommit[None, Sequence[TracedOrder] | Unanswered] = GroupCommit(
            self._read, _ASKED_TOGETHER
        )

    async def place(self, kind: CallKind, **terms: Any) -> str:
        """Places an order once; returns Kite's id of it. The errors are those of KiteRest.place_order."""
        return await self.rest.place_order(kind, variety=REGULAR, **terms)

    async def by_tag(self, tag: str) -> TracedOrder | None:
        """The order with a tag; None if a book that was read after this call doesn't show it.

        Raises:
            KiteError, NoSession: Kite can't be asked now.
            UnreadableRow: the book shows no such order, but has a row that can't be read.
        """
        found = await self._looking.submit(tag)
        if isinstance(found, Exception):
            raise found
        return found

    async def book(self) -> Sequence[TracedOrder]:
        """The day's orders, the first one first, each with its trades.

        Raises:
            KiteError, NoSession: Kite can't be asked now.
            UnreadableRow: a row can't be read.
        """
        found = await self._reading.submit(None)
        if isinstance(found, Exception):
            raise found
        return found

    async def listed(self) -> Sequence[KiteOrder]:
        """The day's orders without their trades, the first one first. The errors are those of `book`."""
        rows = await self.rest.orders()
        _, unreadable = self._taken(rows)
        if unreadable is not None:
            raise unreadable
        return [self._known[str(row["order_id"])] for row in rows]

    async def _look_up(self, tags: Sequence[str]) -> Sequence[TracedOrder | Unanswered | None]:
        """What the book shows under each tag: one read of the book, and one of trades where new ones were made."""
        try:
            rows = await self.rest.orders()
        except (KiteError, NoSession) as unanswered:
            return [unanswered] * len(tags)
        by_tag, unreadable = self._taken(rows)
        missing = {
            by_tag[tag].order_id: by_tag[tag]
            for tag in tags
            if tag in by_tag and self._lacks_trades(by_tag[tag])
        }
        try:
            await self._read_trades(list(missing.values()))
        except (KiteError, NoSession, UnreadableRow) as unanswered:
            failed: Unanswered = unanswered
            return [
                failed
                if tag in by_tag and by_tag[tag].order_id in missing
                else self._answer(tag, by_tag, unreadable)
                for tag in tags
            ]
        return [self._answer(tag, by_tag, unreadable) for tag in tags]

    async def _read(self, asked: Sequence[None]) -> Sequence[Sequence[TracedOrder] | Unanswered]:
        try:
            rows = await self.rest.orders()
            _, unreadable = self._taken(rows)
            if unreadable is not None:
                return [unreadable] * len(asked)
            listed = [self._known[str(row["order_id"])] for row in rows]
            await self._read_trades([order for order in listed if self._lacks_trades(order)])
        except (KiteError, NoSession, UnreadableRow) as unanswered:
            return [unanswered] * len(asked)
        return [[self._traced(order) for order in listed]] * len(asked)

    def _taken(self, rows: Sequence[Row]) -> tuple[dict[str, KiteOrder], UnreadableRow | None]:
        """Takes a book; returns its orders by tag, the first one of each, and why a row of it can't be read.

        Orders of a book that has begun anew, as it does each day, are forgotten.
        """
        by_tag: dict[str, KiteOrder] = {}
        unreadable: UnreadableRow | None = None
        known: dict[str, KiteOrder] = {}
        twice: set[str] = set()
        for row in rows:
            try:
                seen = order_of(row)
            except UnreadableRow as error:
                unreadable = error
                continue
            order = known[seen.order_id] = newest_of(self._known.get(seen.order_id), seen)
            if order.tag and by_tag.setdefault(order.tag, order) is not order:
                twice.add(order.tag)
        self.twice = twice
        if unreadable is None:
            self._trades = {order_id: got for order_id, got in self._trades.items() if order_id in known}
            self._known = known
        else:
            self._known |= known
        return by_tag, unreadable

    def _answer(
        self, tag: str, by_tag: dict[str, KiteOrder], unreadable: UnreadableRow | None
    ) -> TracedOrder | Unanswered | None:
        order = by_tag.get(tag)
        return unreadable if order is None else self._traced(order)

    def _traced(self, order: KiteOrder) -> TracedOrder:
        return TracedOrder(order, self._trades.get(order.order_id, ()))

    def _lacks_trades(self, order: KiteOrder) -> bool:
        return sum(trade.quantity for trade in self._trades.get(order.order_id, ())) < order.filled

    async def _read_trades(self, orders: Sequence[KiteOrder]) -> None:
        """Reads the trades of orders. What was seen once stays, whatever a later answer leaves out."""
        if not orders:
            return
        if len(orders) <= _ONE_BY_ONE:
            rows: list[Row] = []
            for order in orders:
                rows += await self.rest.order_trades(order.order_id)
        else:
            wanted = {order.order_id for order in orders}
            rows = [row for row in await self.rest.trades() if str(row.get("order_id")) in wanted]
        by_order: dict[str, list[KiteTrade]] = {}
        for trade in trades_of(rows):
            by_order.setdefault(trade.order_id, []).append(trade)
        for order_id, trades in by_order.items():
            before = self._trades.get(order_id, ())
            seen = Counter((one.day, one.identity) for one in trades)
            kept = [one for one in before if (one.day, one.identity) not in seen]
            self._trades[order_id] = tuple(sorted([*kept, *trades], key=lambda one: one.traded_at))
