"""Asks a broker for what it didn't answer, by its tag, until it is seen or its absence is certain (rule 2)."""

from __future__ import annotations

import asyncio

import structlog

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order_events import OrderHappening
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.slicing import slices
from alphapanda.trading.look_up import LookUps
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.store.port import TradingTransaction
from alphapanda.trading.surroundings import Surroundings, locked_order, reported
from alphapanda.trading.traders.trader import NoClearAnswer, Trader

_log = structlog.get_logger(__name__)


class Inquiry:
    """One look-up at a time.

    Args:
        surroundings: what it works with.
        options: send window and call timeout.
        look_ups: keeps the deadline of each intent.
    """

    def __init__(self, surroundings: Surroundings, options: TradingOptions, look_ups: LookUps) -> None:
        self._with = surroundings
        self._options = options
        self._look_ups = look_ups

    async def ask(self, order: Order, intent: Intent) -> tuple[Order, bool]:
        """Asks for an intent; the order after that, and whether the intent has ended."""
        trader = self._with.traders[order.key.broker]
        deadline = self._look_ups.deadline(intent.intent_id, self._visibility(trader))
        window_is_over = self._with.boot_clock() >= deadline
        try:
            async with asyncio.timeout(self._options.call_timeout_seconds):
                told = await trader.look_up(order.key.account, intent.tag)
        except (TimeoutError, NoClearAnswer) as unclear:
            _log.warning("look-up failed", order_id=order.order_id, tag=intent.tag, error=repr(unclear))
            return order, False
        if told is None and not (window_is_over and intent.unanswered):
            return order, False
        market = await self._with.market_now(None, may_be_unknown=True)
        async with self._with.store.transaction() as transaction:
            locked = await locked_order(transaction, order.order_id)
            mine = locked.intents[intent.number]
            happenings: list[OrderHappening] = []
            if told is not None:
                happenings = reported(locked, mine, told, market.market_time)
            elif mine.unanswered:
                again = await self._exit_again(transaction, locked)
                happenings = locked.absent(mine, _absent(trader.broker, mine), market.market_time, again)
                _log.warning(
                    "order absent at the broker",
                    order_id=order.order_id,
                    tag=mine.tag,
                    tried_again=sum(again),
                )
            await self._with.publish(transaction, locked, happenings)
        if mine.status.is_final:
            self._look_ups.settled(mine.intent_id)
        return locked, mine.status.is_final

    async def _exit_again(self, transaction: TradingTransaction, order: Order) -> tuple[int, ...]:
        """What is left to exit, in parts; nothing of an entry, and nothing where the position is gone."""
        instrument = self._with.instruments().by_id(order.key.instrument_id)
        quantity = order.exit_again(await transaction.position(order.key))
        if instrument is None or not quantity:
            return ()
        try:
            return slices(quantity, instrument.lot_size, instrument.freeze_quantity)
        except InvalidInput:
            return ()

    def _visibility(self, trader: Trader) -> float:
        """Seconds after the commit (or, after a restart, after now, which is later) until absence is certain."""
        options = self._options
        return options.send_window_seconds + options.call_timeout_seconds + trader.visibility_window


def _absent(broker: str, intent: Intent) -> str:
    return f"{broker!r} showed no order under tag {intent.tag} until the visibility window ended; it is not sent again"
