"""Where every decision is made: one transaction under the account's lock, whoever brought the question."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from operator import attrgetter

import structlog
from redis.exceptions import RedisError

from alphapanda.contract.wire import signal_event, verdict_event
from alphapanda.domain import ids
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.market import NOTHING_KNOWN, MarketView
from alphapanda.domain.order import TradingState
from alphapanda.domain.order_events import Fill, Filled, OrderHappening
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import Approved, Verdict
from alphapanda.resilience.failures import TransientFailure
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import Inputs, StrategyRevisionUnknown
from alphapanda.risk.core.day import WHOLE_ACCOUNT, DayCounters
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.named_limits import ACCOUNT_WIDE
from alphapanda.risk.store.port import DecisionUnit, RiskStore
from alphapanda.risk.strategy_statuses import StrategyStatuses
from alphapanda.risk.switch_events import SOURCE, account_switch_event, next_switch
from alphapanda.storage.price_cache import MarketViews
from panda.events.v1.events_pb2 import Event

Instruments = Callable[[], InstrumentDirectory]
"""The instruments of today; asked anew each time, because the directory is replaced as a whole."""

_Step = Callable[[RiskBook, Inputs], list[Verdict]]

_log = structlog.get_logger(__name__)


class DecisionService:
    """Decides, stores and publishes.

    Args:
        store: risk's schema.
        views: prices and market time.
        instruments: the day's instruments.
        calendar: sessions.
        limits: of every account.
        strategy_statuses: of the strategies.
        wall_time: now, aware; only the envelopes carry it.
    """

    def __init__(
        self,
        store: RiskStore,
        views: MarketViews,
        instruments: Instruments,
        calendar: TradingCalendar,
        limits: Limits,
        strategy_statuses: StrategyStatuses,
        wall_time: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._views = views
        self._instruments = instruments
        self._calendar = calendar
        self._limits = limits
        self._strategy_statuses = strategy_statuses
        self._wall_time = wall_time

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self._limits

    @property
    def calendar(self) -> TradingCalendar:
        """Sessions."""
        return self._calendar

    async def judge(self, broker: str, account: str, signals: Sequence[Signal]) -> list[Verdict]:
        """Judges signals of one account, in order; what was judged before is passed over.

        Raises:
            TransientFailure: a strategy's revision isn't known yet.
        """

        def step(book: RiskBook, inputs: Inputs) -> list[Verdict]:
            return [verdict for signal in signals for verdict in book.judge(signal, inputs)]

        keys = [signal.key for signal in signals]
        tokens, signal_ids = {one.instrument_token for one in signals}, {one.signal_id for one in signals}
        return await self._decide(broker, account, keys, tokens, signal_ids, step)

    async def discard(self, signal: Signal) -> list[Verdict]:
        """Ends a parked signal that a person gave up: refused as DISCARDED, where it has no verdict yet."""
        return await self._decide(
            signal.key.broker,
            signal.key.account,
            [signal.key],
            [signal.instrument_token],
            [signal.signal_id],
            lambda book, inputs: book.discard(signal, inputs),
        )

    async def apply(self, broker: str, account: str, told: Sequence[OrderHappening]) -> list[Verdict]:
        """Applies order events of one account; a target whose turn has come is judged.

        Raises:
            TransientFailure: of that target's strategy the revision isn't known yet.
        """

        def step(book: RiskBook, inputs: Inputs) -> list[Verdict]:
            return [verdict for one in told for verdict in book.on_order(one.order, inputs, _fill(one))]

        orders = [one.order for one in told]
        tokens, signal_ids = {one.instrument_token for one in orders}, {one.signal_id for one in orders}
        return await self._decide(broker, account, [order.key for order in orders], tokens, signal_ids, step)

    async def release(self, key: PositionKey, signal_id: str) -> list[Verdict]:
        """Ends the reservation of an order that trading has said will never be; a target that waited for it is judged.

        Raises:
            TransientFailure: of that target's strategy the revision isn't known yet.
        """
        instrument = self._instruments().by_id(key.instrument_id)
        tokens = {instrument.instrument_token} if instrument is not None else set()

        def step(book: RiskBook, inputs: Inputs) -> list[Verdict]:
            return book.release(key, signal_id, inputs)

        return await self._decide(key.broker, key.account, [key], tokens, [signal_id], step)

    async def authorize(self, signal: Signal) -> Verdict:
        """Judges an explicit order, or finds the verdict given on it before."""
        await self.judge(signal.key.broker, signal.key.account, [signal])
        verdict = await self._store.verdict(signal.signal_id)
        if verdict is None or isinstance(verdict, Signal):
            raise LookupError(f"no verdict was stored on the explicit order {signal.signal_id}")
        return verdict

    async def look(
        self, broker: str, account: str, keys: Sequence[PositionKey] = (), tokens: Collection[int] = ()
    ) -> tuple[RiskBook, Inputs]:
        """An account as it stands, whole, and what a decision on it would read now. Nothing is stored.

        Args:
            broker: its broker.
            account: it.
            keys: positions that count though they are flat.
            tokens: of instruments whose prices count though nothing of them is held.
        """
        async with self._store.unit(broker, account, dry=True) as unit:
            book = await unit.book(keys, (), whole=True)
            return book, self._inputs(await self.market(self._tokens(book, tokens)), unit)

    async def demand_square_offs(
        self, keys: Sequence[PositionKey], market: MarketView, cause: str
    ) -> list[Signal]:
        """Publishes the square-offs that are due under these keys of one account, as signals to be judged like any.

        The same demand made again is published once: its id is that of the timer.
        """
        broker, account = keys[0].broker, keys[0].account
        async with self._store.unit(broker, account) as unit:
            book = await unit.book(keys, ())
            signals = book.due(self._inputs(market, unit), (broker,), cause)
            now = self._wall_time()
            await unit.save(book, (), [signal_event(signal, SOURCE, now) for signal in signals])
        return signals

    async def market(self, tokens: Sequence[int]) -> MarketView:
        """What is known of the market; nothing where the cache is away (entries wait for nobody, exits pass)."""
        try:
            return await self._views.view(tokens)
        except (RedisError, OSError) as away:
            _log.warning("market view away, only exits pass", error=str(away))
            return NOTHING_KNOWN

    async def _decide(
        self,
        broker: str,
        account: str,
        keys: Sequence[PositionKey],
        tokens: Collection[int],
        signal_ids: Collection[str],
        step: _Step,
    ) -> list[Verdict]:
        market = await self.market(list(tokens))
        while True:
            try:
                return await self._in_one_transaction(broker, account, keys, signal_ids, tokens, market, step)
            except StrategyRevisionUnknown as unknown:
                if not self._strategy_statuses.is_given_up(unknown):
                    raise TransientFailure(str(unknown)) from unknown

    async def _in_one_transaction(
        self,
        broker: str,
        account: str,
        keys: Sequence[PositionKey],
        signal_ids: Collection[str],
        tokens: Collection[int],
        market: MarketView,
        step: _Step,
    ) -> list[Verdict]:
        async with self._store.unit(broker, account) as unit:
            wide = unit.limits.may_set(ACCOUNT_WIDE, self._limits)
            book = await unit.book(keys, signal_ids, whole=wide)
            if wide:
                market = await self.market(self._tokens(book, tokens))
            before = book.days.get((broker, account, WHOLE_ACCOUNT))
            verdicts = step(book, self._inputs(market, unit))
            await unit.save(book, verdicts, [self._event(verdict) for verdict in verdicts])
            after = book.days.get((broker, account, WHOLE_ACCOUNT))
            if after is not None and bool(after.tripped) != (before is not None and bool(before.tripped)):
                await self._tell_of_trip(unit, after)
        for verdict in verdicts:
            _log_verdict(verdict)
        return verdicts

    async def _tell_of_trip(self, unit: DecisionUnit, today: DayCounters) -> None:
        """The account's own kill switch follows its daily loss: REDUCING when it trips, ACTIVE with the next day."""
        switch = next_switch(
            await unit.account_switch(),
            TradingState.REDUCING if today.tripped else TradingState.ACTIVE,
            today.tripped or f"{today.day} is a new day",
            self._wall_time(),
        )
        await unit.save_account_switch(switch, account_switch_event(switch))
        _log.warning(
            "account only reduces" if today.tripped else "account trades again",
            broker=switch.scope.broker,
            account=switch.scope.account,
            why=switch.reason,
        )

    def _tokens(self, book: RiskBook, asked: Iterable[int]) -> list[int]:
        instruments = self._instruments()
        known = (instruments.by_id(key.instrument_id) for key in book.positions)
        return list({*asked, *(instrument.instrument_token for instrument in known if instrument)})

    def _inputs(self, market: MarketView, unit: DecisionUnit) -> Inputs:
        return Inputs(
            market,
            self._instruments(),
            self._calendar,
            self._limits,
            unit.trading_state,
            self._strategy_statuses.known,
            self._strategy_statuses.given_up,
            unit.limits,
            unit.strategy_switches,
            unit.unknown_positions,
        )

    def _event(self, verdict: Verdict) -> Event:
        event_id = ids.output_id(SOURCE, verdict.signal_id, "verdict")
        return verdict_event(verdict, event_id, verdict.signal_id, SOURCE, self._wall_time())


def _fill(happening: OrderHappening) -> Fill | None:
    return happening.fill if isinstance(happening, Filled) else None


def by_account(keys: Sequence[PositionKey]) -> dict[tuple[str, str], list[int]]:
    """Where in the sequence each (broker, account) stands, in order."""
    places: dict[tuple[str, str], list[int]] = {}
    whose = attrgetter("broker", "account")
    for at, key in enumerate(keys):
        places.setdefault(whose(key), []).append(at)
    return places


def _log_verdict(verdict: Verdict) -> None:
    about = _log.bind(
        signal_id=verdict.signal_id,
        correlation_id=verdict.correlation_id,
        broker=verdict.key.broker,
        account=verdict.key.account,
        strategy_id=verdict.key.strategy_id,
        instrument_id=verdict.key.instrument_id,
    )
    if isinstance(verdict, Approved):
        about.info("signal validated", side=verdict.side.name, quantity=verdict.quantity)
    else:
        about.info("signal rejected", reason=verdict.reason, message=verdict.message)
