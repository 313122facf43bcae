"""Books what was traded elsewhere at a live account, once each, so that our positions are the broker's (REAL_MONEY rule 9)."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import structlog

from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import OrderStatus
from alphapanda.domain.signal import FOREIGN
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line
from alphapanda.resilience.rounds import Rounds
from alphapanda.trading.core.foreign import (
    DayTrade,
    allocated,
    booked,
    booked_id,
    fills_of_parts,
    foreign_key,
)
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.execution_context import ExecutionContext
from alphapanda.trading.exit_cuts import MOST_ORDERS, Booked, nothing_to_cut
from alphapanda.trading.store.port import OrderFilter, PositionFilter
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer, Trader

ROUND_SECONDS: Final = 3.0
MOST_REMEMBERED: Final = 100_000
"""Trades that are known to be booked; more are looked up in the database again."""
_UNDER_WAY: Final = (
    OrderStatus.SUBMITTING,
    OrderStatus.UNKNOWN,
    OrderStatus.OPEN,
    OrderStatus.PARTIALLY_FILLED,
)
_log = structlog.get_logger(__name__)


class _Overtaken(Exception):
    """Another process has booked a part of the trade."""


class ForeignTrades:
    """Reads the day's trades of every live broker at an interval, and books those that no order of ours has made.

    A trade waits while an order of ours in the same instrument has trades that aren't booked yet, or is unknown: what strategies hold
    decides whose position it changes. If several processes read, each trade is still booked once.

    Args:
        context: store, traders, market and clocks.
        booked: called when something was booked.
        interval: seconds between two rounds.

    Attributes:
        rounds: runs `look` at the interval; the owner starts and stops it.
    """

    def __init__(
        self,
        context: ExecutionContext,
        booked: Booked = nothing_to_cut,
        interval: float = ROUND_SECONDS,
    ) -> None:
        self._context = context
        self._booked = booked
        self._done: set[str] = set()
        self._passed_over: set[str] = set()
        self.rounds = Rounds("foreign trades", self.look, interval, _log)

    async def look(self) -> None:
        """Books the foreign trades of every live broker, the brokers at the same time.

        Raises:
            ExceptionGroup: the failures of brokers; the other brokers' trades were booked.
        """
        live = [
            trader
            for trader in self._context.traders.values()
            if trader.get_execution_mode() is ExecutionMode.LIVE
        ]
        errors = await asyncio.gather(*(attempted(self._look_at(trader)) for trader in live))
        if failed := [error for error in errors if error is not None]:
            raise ExceptionGroup("foreign trades could not be booked", failed)

    async def _look_at(self, trader: Trader) -> None:
        try:
            trades = await trader.day_trades()
        except NoClearAnswer as unclear:
            _log.debug("broker.trades_unread", broker=trader.broker, error=in_one_line(unclear))
            return
        self._bound(trader.broker)
        fresh = [trade for trade in trades if trade.fill.fill_id not in self._done]
        if not fresh:
            return
        ours = await self._intents({trade.tag for trade in fresh if trade.tag})
        waiting = self._not_booked_yet(trades, ours) | await self._unanswered(trader.broker)
        known = await self._context.store.find_all(
            [booked_id(trade.fill.fill_id) for trade in fresh if trade.tag not in ours]
        )
        booked = False
        for trade in fresh:
            where = (trade.account, trade.symbol)
            if trade.tag in ours:
                if where not in waiting:
                    self._done.add(trade.fill.fill_id)
            elif booked_id(trade.fill.fill_id) in known or (
                where not in waiting and await self._book(trader.broker, trade)
            ):
                self._done.add(trade.fill.fill_id)
                booked = True
        if booked:
            await self._booked()

    def _bound(self, broker: str) -> None:
        """Forgets what was booked once that is a lot: it is read from the database then."""
        if len(self._done) + len(self._passed_over) > MOST_REMEMBERED:
            _log.info("broker.trades_forgotten", broker=broker)
            self._done.clear()
            self._passed_over.clear()

    async def _intents(self, tags: Collection[str]) -> Mapping[str, Intent]:
        """Our intents with these tags; tags of nobody's are left out."""
        if not tags:
            return {}
        orders = await self._context.store.find_all(await self._context.store.orders_of_tags(sorted(tags)))
        found = {intent.tag: intent for stored in orders.values() for intent in stored.order.intents}
        return {tag: found[tag] for tag in tags if tag in found}

    def _not_booked_yet(self, trades: Sequence[DayTrade], ours: Mapping[str, Intent]) -> set[tuple[str, str]]:
        """Accounts and symbols in which orders of ours have trades that aren't booked."""
        traded: Counter[str] = Counter()
        where: defaultdict[str, tuple[str, str]] = defaultdict(lambda: ("", ""))
        for trade in trades:
            if trade.tag in ours:
                traded[trade.tag] += trade.fill.quantity
                where[trade.tag] = (trade.account, trade.symbol)
        return {
            where[tag]
            for tag, units in traded.items()
            if ours[tag].filled < units and not (ours[tag].is_absent and ours[tag].broker_order_id)
        }

    async def _unanswered(self, broker: str) -> set[tuple[str, str]]:
        """Accounts and symbols in which it isn't known whether the broker has an order of ours: it may be hidden, and traded."""
        found = await self._context.store.newest(OrderFilter(broker, statuses=_UNDER_WAY), None, MOST_ORDERS)
        return {
            (stored.order.key.account, instrument.symbol)
            for stored in found
            if any(intent.unanswered for intent in stored.order.intents)
            and (instrument := self._context.instruments().by_id(stored.order.key.instrument_id))
        }

    async def _book(self, broker: str, trade: DayTrade) -> bool:
        """Books a trade; returns False where it can't be, which is logged once."""
        instrument = self._context.instruments().by_symbol(trade.symbol)
        if instrument is None or trade.product is None:
            if trade.fill.fill_id not in self._passed_over:
                self._passed_over.add(trade.fill.fill_id)
                _log.warning(
                    "order.foreign_passed_over",
                    broker=broker,
                    account=trade.account,
                    symbol=trade.symbol,
                    broker_order_id=trade.broker_order_id,
                    message="its instrument or its product isn't known here",
                )
            return False
        error = await attempted(self._store(broker, trade, instrument))
        if error is not None and not isinstance(error, _Overtaken):
            raise error
        return error is None

    async def _store(self, broker: str, trade: DayTrade, instrument: Instrument) -> None:
        """Stores the orders as which a trade is booked, all of them or none.

        Raises:
            _Overtaken: one of them is there already.
        """
        if trade.product is None:
            return
        market_time = await self._context.market_time()
        key = foreign_key(broker, trade.account, instrument.instrument_id, trade.product)
        async with self._context.store.transaction() as transaction:
            exposures = await transaction.exposures(
                PositionFilter("", instrument.instrument_id, broker, trade.account)
            )
            held = {one.key: one.held for one in exposures if one.key.product is trade.product}
            parts = allocated(trade.units, held, key)
            changes = []
            for part, fill in zip(parts, fills_of_parts(broker, trade, parts), strict=True):
                order, updates = booked(trade, part, fill, instrument.instrument_token, market_time)
                changes.append(self._context.change(order, updates))
            if len(await transaction.add(changes)) < len(changes):
                raise _Overtaken
        for part in parts:
            ours = part.key.strategy_id != FOREIGN
            (_log.error if ours else _log.warning)(
                "order.foreign_booked",
                alarm=ours,
                broker=broker,
                account=trade.account,
                strategy_id=part.key.strategy_id,
                instrument_id=instrument.instrument_id,
                quantity=part.units,
                broker_order_id=trade.broker_order_id,
                placed_by=trade.placed_by,
            )
