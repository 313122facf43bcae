"""Cuts working exits at live brokers down to what is held, where a position was reduced elsewhere: none may cross zero (REAL_MONEY rule 9).

What is held is what our books say, and what the broker's own say: where a trade elsewhere can't be booked yet, because an order of ours is
UNKNOWN or trades can't be read, only the broker's show it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from alphapanda.domain.order import OrderStatus, Product, Side
from alphapanda.resilience.failures import in_one_line
from alphapanda.resilience.rounds import Rounds
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest, ChangeStatus, change_id_of
from alphapanda.trading.execution_context import ExecutionContext
from alphapanda.trading.store.change_port import StoredChange
from alphapanda.trading.store.port import OrderFilter
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer, Standing, Trader
from alphapanda.trading.unseen import AT_THE_BROKER

ROUND_SECONDS: Final = 3.0
LONGEST_PAUSE: Final = 60.0
"""Seconds between two equal cuts of an order, where those before had no effect."""
STALE: Final = timedelta(seconds=12)
"""A modification that was taken may show in the broker's book so much later."""
READ_AGAIN_SECONDS: Final = 0.5
READS_MORE: Final = 3
"""A broker's positions may be a moment behind its trades: what would cut an exit is read so many times more."""
ALARM_AFTER: Final = 3
"""Rounds in a row in which an account's positions couldn't be read."""
MOST_ORDERS: Final = 500
"""Working orders of a broker that are looked at, the newest ones."""
MOST_CUTS: Final = 100
"""Changes of an order that are looked through for earlier cuts."""
BY: Final = "trading"
_WORKING: Final = (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)
_BEGUN: Final = (ChangeStatus.PENDING, ChangeStatus.CALLING)
_log = structlog.get_logger(__name__)

Begin = Callable[[Sequence[ChangeRequest]], None]
"""Begins to carry out changes that were just stored."""


def cut_of(order: Order, position: int) -> ChangeRequest | None:
    """The change that makes an exit no larger than its position; None where it isn't, or where it is no exit.

    Args:
        order: as it stands.
        position: units held under its key, signed.
    """
    if order.effect.is_entry or order.status not in _WORKING:
        return None
    room = max(-order.side.sign * position, 0)
    if order.leaves <= room:
        return None
    return _cut(order, order.filled, room, f"{position} units are held")


def cuts_of(exits: Sequence[Order], standing: Standing) -> dict[str, ChangeRequest]:
    """The changes that make exits no larger, together, than what the broker holds, by order id; the newest ones are cut.

    Args:
        exits: the account's working exits, the oldest first.
        standing: what the broker holds of their instruments, and what works there.
    """
    rooms: dict[tuple[str, Product, Side], int] = {}
    cuts = {}
    for order in exits:
        intent = order.current
        if intent is None or intent.tag not in standing.working:
            continue
        where = (order.key.instrument_id, order.key.product)
        if where not in standing.held:
            continue
        held = standing.held[where]
        filled, left = standing.working[intent.tag]
        room = rooms.get((*where, order.side), max(-order.side.sign * held, 0))
        stays = min(left, room)
        rooms[(*where, order.side)] = room - stays
        if stays < left:
            others = sum(one.filled for one in order.intents if one is not intent)
            cuts[order.order_id] = _cut(order, others + filled, stays, f"the broker holds {held} units")
    return cuts


def _cut(order: Order, filled: int, room: int, why: str) -> ChangeRequest:
    return ChangeRequest(
        change_id_of(f"cut {filled} {room}", order.order_id),
        order.order_id,
        ChangeKind.MODIFY if room else ChangeKind.CANCEL,
        BY,
        f"{why}: the position was reduced elsewhere",
        filled + room if room else 0,
    )


def again(change: ChangeRequest, history: Sequence[StoredChange], now: datetime) -> ChangeRequest | None:
    """A cut as it is asked for after earlier ones of its order; None: not yet.

    A modification that came to nothing is followed by a cancellation, and a cancellation that came to nothing by another one, after
    pauses that grow.

    Args:
        change: what the order needs.
        history: the order's changes, the oldest first.
        now: wall time.
    """
    cuts = [one for one in history if one.change.requested_by == BY]
    alike = [one for one in cuts if _what(one.change) == _what(change)]
    if not alike:
        return change
    if change.kind is ChangeKind.MODIFY:
        if alike[-1].change.status is ChangeStatus.DONE and now - alike[-1].created_at < STALE:
            return None
        change = replace(change, kind=ChangeKind.CANCEL, quantity=0)
        alike = [one for one in cuts if one.change.kind is ChangeKind.CANCEL] or alike
    last = alike[-1]
    pause = min(ROUND_SECONDS * 2 ** (len(alike) - 1), LONGEST_PAUSE)
    if last.change.kind is ChangeKind.CANCEL and now - last.created_at < timedelta(seconds=pause):
        return None
    return replace(change, change_id=change_id_of(last.change.change_id, change.order_id))


def _what(change: ChangeRequest) -> tuple[ChangeKind, int]:
    return change.kind, change.quantity


class ExitCuts:
    """Compares working exits at live brokers with what is held, at an interval and when something was booked from elsewhere.

    Args:
        context: store and traders.
        begin: begins to carry out changes.
        interval: seconds between two rounds.
        sleep: waits for seconds.

    Attributes:
        rounds: runs `look` at the interval; the owner starts and stops it.
    """

    def __init__(
        self,
        context: ExecutionContext,
        begin: Begin,
        interval: float = ROUND_SECONDS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._context = context
        self._begin = begin
        self._sleep = sleep
        self._unread: dict[tuple[str, str], int] = {}
        self.rounds = Rounds("exit cuts", self.look, interval, _log)

    async def look(self) -> None:
        """Cuts what is larger than its position by our books, and what is larger than the broker's own."""
        for broker, trader in self._context.traders.items():
            if trader.get_execution_mode() is not ExecutionMode.LIVE:
                continue
            by_account = defaultdict(list)
            for order in await self._exits(broker):
                by_account[order.key.account].append(order)
                if order.status in _WORKING:
                    await self._cut_by_books(order.order_id)
            for account, exits in by_account.items():
                await self._cut_by_broker(trader, account, exits)

    async def _exits(self, broker: str) -> Sequence[Order]:
        """The broker's exits that work or may do so, the oldest first: the broker may show one before our row says that it is there."""
        wanted = OrderFilter(broker, statuses=AT_THE_BROKER)
        newest = await self._context.store.newest(wanted, None, MOST_ORDERS)
        return [one.order for one in reversed(newest) if not one.order.effect.is_entry]

    async def _cut_by_books(self, order_id: str) -> None:
        async with self._context.store.transaction() as transaction:
            order = await transaction.locked(order_id)
            if order is None:
                return
            position = await transaction.position(order.key)
            change = cut_of(order, position)
        if change is not None:
            await self._ask(order, change)

    async def _cut_by_broker(self, trader: Trader, account: str, exits: Sequence[Order]) -> None:
        where = (trader.broker, account)
        try:
            cuts = await self._beyond(trader, account, exits)
            for _ in range(READS_MORE):
                if not cuts:
                    break
                await self._sleep(READ_AGAIN_SECONDS)
                cuts = await self._beyond(trader, account, exits)
        except NoClearAnswer as unread:
            unread_rounds = self._unread[where] = self._unread.get(where, 0) + 1
            if unread_rounds == ALARM_AFTER:
                _log.error(
                    "order.exits_unchecked",
                    alarm=True,
                    broker=trader.broker,
                    account=account,
                    error=in_one_line(unread),
                    message="positions can't be read: if one was reduced elsewhere, a working exit may trade beyond zero",
                )
            return
        self._unread.pop(where, None)
        for order in exits:
            if order.order_id in cuts:
                await self._ask(order, cuts[order.order_id])

    async def _beyond(
        self, trader: Trader, account: str, exits: Sequence[Order]
    ) -> Mapping[str, ChangeRequest]:
        """The cuts by the broker's own books as they are now.

        Raises:
            NoClearAnswer: they can't be read.
        """
        wanted = {
            (instrument, order.key.product)
            for order in exits
            if (instrument := self._context.instruments().by_id(order.key.instrument_id))
        }
        standing = await trader.standing(account, wanted)
        return cuts_of(exits, standing) if standing else {}

    async def _ask(self, order: Order, change: ChangeRequest) -> None:
        """Asks for a cut, unless one is on its way. A modification that had no effect is followed by a cancellation."""
        history = await self._context.store.changes.of_order(order.order_id, MOST_CUTS)
        due = again(change, history, self._context.wall_clock())
        if due is None:
            return
        stored: list[ChangeRequest] = []
        try:
            async with self._context.store.transaction() as transaction:
                now = await transaction.locked(order.order_id)
                if now is None or now.status not in AT_THE_BROKER:
                    return
                for one in await transaction.changes.unresolved(order.order_id):
                    if one.kind is ChangeKind.CANCEL or one.status in _BEGUN:
                        return
                position = await transaction.position(now.key)
                stored.append(due)
                await transaction.changes.add(stored)
        finally:  # it may be stored, even where its commit has no clear answer
            self._begin(stored)
        _log.error(
            "order.cut",
            alarm=True,
            broker=order.key.broker,
            account=order.key.account,
            strategy_id=order.key.strategy_id,
            instrument_id=order.key.instrument_id,
            order_id=order.order_id,
            leaves=now.leaves,
            position=position,
            reason=due.reason,
        )


async def nothing_to_cut() -> None:
    """Does nothing."""


Booked = Callable[[], Awaitable[None]]
"""Called when something was booked from elsewhere."""
