"""How much of an exit may be sent: never more than the account holds, less what is on its way out already (REAL_MONEY rule 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import structlog

from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import Product
from alphapanda.kite.held import net_units, traded_unseen, unseen_units, working_units
from alphapanda.kite.order_rows import UnreadableRow
from alphapanda.kite.orders import KiteOrders
from alphapanda.kite.outcomes import KiteError
from alphapanda.kite.session import NoSession
from alphapanda.resilience.failures import in_one_line
from alphapanda.trading.traders.trader import NoClearAnswer, NothingSent, Placement, Standing

READ_AGAIN_SECONDS: Final = 0.5
READS_MORE: Final = 3
"""Positions may be a moment behind the trades, and orders behind their cancellation: what would cut an exit is read some times more."""
MOST_WAITS: Final = 30
"""Calls of an exit that may find everything on its way out by orders that show; the next one ends it."""
ALARM_AFTER: Final = 3
"""Reads in a row that failed."""
_log = structlog.get_logger(__name__)


class OnItsWayOut(NothingSent):
    """All that is held is on its way out by other orders, such as a stop that is being cancelled; it concerns this exit alone."""

    waits = True


class ExitRoom:
    """Asks Zerodha how much of an exit may be sent.

    Args:
        orders: the account's orders.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        orders: KiteOrders,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._orders = orders
        self._unread = 0
        self._sleep = sleep

    async def units(self, placement: Placement) -> int:
        """Units of an exit to send: min(asked for, held in the same product, less working exits); 0: there is nothing to exit.

        Raises:
            OnItsWayOut: all that is held is on its way out already.
            NothingSent: the books can't be read, and without them none is sent, because it might open what is closed already.
        """
        try:
            held, working, unseen = await self._room(placement)
            for _ in range(READS_MORE):
                if held - working >= placement.quantity:
                    break
                await self._sleep(READ_AGAIN_SECONDS)
                held, working, unseen = await self._room(placement)
        except (KiteError, NoSession, UnreadableRow) as unread:
            self._unread += 1
            if self._unread == ALARM_AFTER:
                _log.error(
                    "order.exit_waits",
                    alarm=True,
                    account=placement.account,
                    strategy_id=placement.strategy_id,
                    instrument_id=placement.instrument.instrument_id,
                    error=in_one_line(unread),
                    message="positions can't be read, and no exit is sent without them",
                )
            raise NothingSent(
                f"positions have to be read before this exit is sent: {in_one_line(unread)}"
            ) from unread
        self._unread = 0
        room = max(held - working, 0)
        if unseen and room < min(placement.quantity, held - working + unseen):
            raise OnItsWayOut(f"{unseen} units of other orders may be working unseen; it is clear soon")
        if held and not room and placement.number < MOST_WAITS:
            raise OnItsWayOut(f"the {held} units that are held are on their way out by other orders")
        if room < placement.quantity:
            _log.error(
                "order.exit_cut",
                alarm=True,
                account=placement.account,
                strategy_id=placement.strategy_id,
                instrument_id=placement.instrument.instrument_id,
                tag=placement.tag,
                quantity=placement.quantity,
                held=room,
            )
        return min(placement.quantity, room)

    async def _room(self, placement: Placement) -> tuple[int, int, int]:
        """Units held that the exit would reduce, units that other orders may still take of them, and those of the latter that nobody sees."""
        instrument, product = placement.instrument, placement.product
        rest = self._orders.rest
        delivery = product is Product.CNC
        book, positions, holdings = await asyncio.gather(
            self._orders.book(), rest.positions(), rest.holdings() if delivery else _none()
        )
        net = net_units(positions, holdings, instrument.exchange, instrument.tradingsymbol, product.name)
        working = working_units(
            (one.order for one in book), instrument.symbol, placement.side.name, product.name
        )
        unseen = unseen_units(placement.beside, (one.order for one in book))
        if unseen:
            # What they have traded is held no more. Trades are read first: one that is made in between counts twice, never not at all.
            trades = await rest.trades()
            positions = await rest.positions()
            net = net_units(positions, holdings, instrument.exchange, instrument.tradingsymbol, product.name)
            made = traded_unseen(
                trades,
                {one.order.order_id for one in book},
                instrument.symbol,
                placement.side.name,
                product.name,
            )
            unseen = max(unseen - made, 0)
        return max(-placement.side.sign * net, 0), working + unseen, unseen


async def standing_at(orders: KiteOrders, wanted: Collection[tuple[Instrument, Product]]) -> Standing:
    """What the account of these orders holds, and its working orders with a tag; what is held is read first.

    Raises:
        NoClearAnswer: Zerodha can't be asked now, or a row can't be read.
    """
    delivery = any(product is Product.CNC for _, product in wanted)
    try:
        positions, holdings = await asyncio.gather(
            orders.rest.positions(), orders.rest.holdings() if delivery else _none()
        )
        held = {
            (one.instrument_id, product): net_units(
                positions, holdings, one.exchange, one.tradingsymbol, product.name
            )
            for one, product in wanted
        }
        listed = await orders.listed()
    except (KiteError, NoSession, UnreadableRow) as unanswered:
        raise NoClearAnswer(in_one_line(unanswered)) from unanswered
    working = {
        one.tag: (one.filled, one.quantity - one.filled) for one in listed if one.tag and not one.ended
    }
    return Standing(held, working)


async def _none() -> tuple[()]:
    return ()
