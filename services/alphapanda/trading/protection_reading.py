"""Reads what is known around protected positions, and knows which of them need nothing at the present prices.

Where a step found nothing to do, and the account's orders haven't changed since, only prices and market time can change that: they are
compared in memory. So a position that is left alone costs a reading of its price, and no statement.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime

import structlog
from msgspec.structs import replace
from redis.exceptions import RedisError

from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.market import NOTHING_KNOWN, MarketView
from alphapanda.domain.order import TradingState
from alphapanda.domain.session import Session
from alphapanda.domain.signal import PositionKey
from alphapanda.trading.core.protection_facts import Surroundings, ended_early, note_triggered
from alphapanda.trading.core.protection_plan import next_plan
from alphapanda.trading.core.protection_record import ProtectionRecord
from alphapanda.trading.execution_context import ExecutionContext
from alphapanda.trading.store.port import Account, PositionFilter, SwitchScope, TradingTransaction
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _AtRest:
    """A position of which a step found nothing to do, with its account's revision before that."""

    revision: int
    records: Sequence[ProtectionRecord]
    around: Surroundings


class ProtectionReading:
    """Reads surroundings.

    Args:
        context: store, traders, market and clocks.
        calendar: sessions.
    """

    def __init__(self, context: ExecutionContext, calendar: TradingCalendar) -> None:
        self._context = context
        self._calendar = calendar
        self._triggered: dict[str, datetime] = {}
        self._unknown: set[PositionKey] = set()
        self._less: set[PositionKey] = set()
        self._at_rest: dict[PositionKey, _AtRest] = {}
        self._revisions: Mapping[Account, int] = {}

    # -- at rest --------------------------------------------------------------------------------------------------

    def look_at(self, revisions: Mapping[Account, int]) -> None:
        """Takes the revisions of all accounts, read before the positions are looked at."""
        self._revisions = revisions

    def rests(
        self, key: PositionKey, records: Sequence[ProtectionRecord], around: Surroundings | None
    ) -> None:
        """Notes that a step found nothing to do; not where something was missing for it, or the broker holds less than we do."""
        revision = self._revisions.get(Account(key.broker, key.account))
        if around is not None and not around.blocked and revision is not None and key not in self._less:
            self._at_rest[key] = _AtRest(revision, records, around)

    def forget(self, key: PositionKey) -> None:
        """Forgets that: the position is stepped."""
        self._at_rest.pop(key, None)

    async def is_at_rest(self, key: PositionKey) -> bool:
        """Whether there is nothing to do at the present prices."""
        kept = self._at_rest.get(key)
        if kept is None or kept.revision != self._revisions.get(Account(key.broker, key.account)):
            return False
        instrument = kept.around.instrument
        market, _ = await self.market(key.broker, instrument.instrument_token)
        if market is NOTHING_KNOWN:
            return False
        wall_time = self._context.wall_clock()
        session, closed = self._session(instrument, self._time(key, market, wall_time))
        note_triggered(self._triggered, kept.records, kept.around.orders, market)
        around = replace(
            kept.around,
            market=market,
            wall_time=wall_time,
            session=session,
            closed=closed,
            triggered_at=self._triggered,
        )
        records = deepcopy(kept.records)
        plan = next_plan(records, around)
        if plan is not None and (plan.done or plan.alarm):
            return False
        self._at_rest[key] = _AtRest(kept.revision, records, around)
        return True

    def keep(self, live: Mapping[PositionKey, Collection[ProtectionRecord]]) -> None:
        """Forgets what belongs to no protection any more."""
        stops = {record.stop_order_id for records in live.values() for record in records}
        self._triggered = {stop: since for stop, since in self._triggered.items() if stop in stops}
        self._at_rest = {key: kept for key, kept in self._at_rest.items() if key in live}
        self._unknown &= live.keys()
        self._less &= live.keys()

    # -- what is known --------------------------------------------------------------------------------------------

    def instrument(self, key: PositionKey) -> Instrument | None:
        """A position's instrument; None, with an alarm, where it isn't among today's."""
        instrument = self._context.instruments().by_id(key.instrument_id)
        if instrument is None and key not in self._unknown:
            self._unknown.add(key)
            _log.error("protection.instrument_unknown", alarm=True, **named(key))
        return instrument

    async def market(self, broker: str, token: int) -> tuple[MarketView, dict[str, TradingState]]:
        """Prices, market time and the broker's kill switch in Redis; nothing where it can't be read."""
        try:
            market, states = await self._context.market.view_with_states([token], [broker])
        except (RedisError, OSError):
            return NOTHING_KNOWN, {}
        return market, dict(states)

    async def held_there(self, key: PositionKey) -> int | None:
        """Units, signed, that the broker's own books show in the position's instrument and product; None: it doesn't tell.

        What was traded elsewhere shows there before it is booked here: a stop for what is held here alone could trade beyond zero.
        """
        trader, instrument = (
            self._context.traders[key.broker],
            self._context.instruments().by_id(key.instrument_id),
        )
        if trader.get_execution_mode() is not ExecutionMode.LIVE or instrument is None:
            return None
        try:
            standing = await trader.standing(key.account, {(instrument, key.product)})
        except NoClearAnswer:
            return None
        return None if standing is None else standing.held.get((key.instrument_id, key.product))

    async def around(
        self,
        transaction: TradingTransaction,
        key: PositionKey,
        records: Sequence[ProtectionRecord],
        market: MarketView,
        states: Mapping[str, TradingState],
        there: int | None = None,
    ) -> Surroundings | None:
        """What is known around a position; None where its instrument isn't, or the broker shows nothing of what is held.

        Args:
            transaction: the one in which its protections are locked.
            key: the position.
            records: its protections.
            market: prices and market time.
            states: the broker's kill switch in Redis; empty where it can't be read.
            there: what the broker's own books show; None: it isn't known.
        """
        instrument = self._context.instruments().by_id(key.instrument_id)
        if instrument is None:
            return None
        ids = {order_id for record in records for order_id in (*record.own_orders, *record.entries)}
        orders = await transaction.protections.orders_around(key, ids)
        changes = await transaction.protections.changes_of(ids)
        scope = SwitchScope(key.broker, key.strategy_id)
        own = (await transaction.kill_switches([scope]))[scope]
        switch = own.or_stricter(key.broker, states.get(key.broker, own.state))
        wall_time = self._context.wall_clock()
        session, closed = self._session(instrument, self._time(key, market, wall_time))
        now = market.market_time or wall_time
        note_triggered(self._triggered, records, orders, market)
        position = await transaction.position(key)
        self._less.discard(key)
        if there is not None and position:
            least = await _held_at_most(transaction, key, position, there)
            if least != position:
                self._less.add(key)
            if not least:  # its positions may be a moment behind its trades: nothing is ended by that alone
                return None
            position = least
        return Surroundings(
            position=position,
            orders=orders,
            changes=changes,
            market=market,
            wall_time=wall_time,
            instrument=instrument,
            session=session,
            closed=closed,
            blocked=self._blocked(key, market, switch.state, switch.scope.words),
            ended_early=ended_early(orders.values(), lambda at: self._session(instrument, at)[1], now),
            triggered_at=self._triggered,
        )

    def _blocked(self, key: PositionKey, market: MarketView, state: TradingState, whose: str) -> str:
        """Why nothing can be sent though the session is open, in one line; empty: it can."""
        trader = self._context.traders[key.broker]
        if state is TradingState.HALTED:
            return f"{whose} is HALTED"
        if trader.get_execution_mode() is ExecutionMode.OFF:
            return f"broker {key.broker!r} is off"
        if trader.get_execution_mode() is ExecutionMode.PAPER and market.market_time is None:
            return "market time is unknown"
        return trader.not_ready

    def _time(self, key: PositionKey, market: MarketView, wall_time: datetime) -> datetime | None:
        """The time by which a session is open or closed: where a live broker's market time is unknown, as after a start, ours."""
        live = self._context.traders[key.broker].get_execution_mode() is ExecutionMode.LIVE
        return market.market_time or (wall_time if live else None)

    def _session(self, instrument: Instrument, at: datetime | None) -> tuple[Session | None, bool]:
        """The session that is open; and whether it is known that none is."""
        if at is None:
            return None, False
        try:
            session = self._calendar.session_at(at, instrument.session_segment)
        except CalendarNotCovered:
            return None, False
        return session, session is None


async def _held_at_most(transaction: TradingTransaction, key: PositionKey, position: int, there: int) -> int:
    """Units of a position, signed, that the broker holds beside those of other strategies in the same instrument and product."""
    wanted = PositionFilter(broker=key.broker, account=key.account, instrument_id=key.instrument_id)
    sign = 1 if position > 0 else -1
    others = sum(
        max(one.held * sign, 0)
        for one in await transaction.exposures(wanted)
        if one.key.product is key.product and one.key != key
    )
    return sign * min(abs(position), max(there * sign - others, 0))


def named(key: PositionKey) -> dict[str, str]:
    """The fields by which log lines name a position."""
    return {
        "broker": key.broker,
        "account": key.account,
        "strategy_id": key.strategy_id,
        "instrument_id": key.instrument_id,
    }
