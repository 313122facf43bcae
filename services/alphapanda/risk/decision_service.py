"""Makes and stores risk's decisions: read the account, decide, store by compare-and-set.

If the account has changed since it was read, the decision is made again under the account's lock. Prices are read from
Redis before, with a timeout of their own, so that nothing waits for Redis while the lock is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from weakref import WeakValueDictionary

import structlog
from redis.exceptions import RedisError

from alphapanda.contract.wire import signal_event, verdict_event
from alphapanda.domain import ids
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.funds import FundsTerms
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.market import NOTHING_KNOWN, MarketView
from alphapanda.domain.order import TradingState
from alphapanda.domain.order_events import Fill, Filled, OrderUpdate
from alphapanda.domain.signal import PositionKey, Signal, in_turn
from alphapanda.domain.verdict import Approved, Verdict
from alphapanda.resilience.budgets import within
from alphapanda.resilience.failures import TransientFailure, in_one_line
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import Inputs, StrategyRevisionUnknown
from alphapanda.risk.core.day import WHOLE_ACCOUNT, DayCounters
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.named_limits import ACCOUNT_WIDE
from alphapanda.risk.store.port import ACCOUNTS_REMEMBERED, AccountFacts, DecisionUnit, RiskStore
from alphapanda.risk.strategy_statuses import StrategyStatuses
from alphapanda.risk.switch_events import SOURCE, account_switch_event, next_switch
from alphapanda.storage.group_commit import GroupCommits
from alphapanda.storage.price_cache import MarketViews
from panda.events.v1.events_pb2 import Event

Instruments = Callable[[], InstrumentDirectory]
"""Returns today's instruments; called for each use, because the directory is replaced as a whole."""

PRICE_BUDGET_SECONDS = 0.25
"""Default timeout for reading prices from Redis; after it the market is unknown, as if Redis were down."""

_AUTHORISED_TOGETHER = 64
"""Most explicit orders in one decision, so that a signal of the account waits for few of them."""
_DECIDED_TOGETHER = 64
"""Most batches of partitions in one decision."""
_MAX_ATTEMPTS = 8
_LOCKED_AFTER_CHANGE = 16
"""Number of decisions on an account that lock it at once, after another process changed it during a decision."""

_Account = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _DecisionRequest:
    """A decision to make, and what it needs.

    Attributes:
        account: broker and account.
        keys: keys of the positions to load.
        tokens: tokens of the instruments whose prices are needed.
        signal_ids: ids of the signals and orders to load.
        decide: changes the book and returns the verdicts.
    """

    account: _Account
    keys: Sequence[PositionKey]
    tokens: Collection[int]
    signal_ids: Collection[str]
    decide: Callable[[RiskBook, Inputs], list[Verdict]]


@dataclass(frozen=True, slots=True)
class _Retry:
    """Nothing was decided; the decision has to be tried again.

    Attributes:
        missing: tokens whose prices have to be read first.
        locked: whether the next attempt has to hold the account's lock.
    """

    missing: frozenset[int] = frozenset()
    locked: bool = False


_log = structlog.get_logger(__name__)


class DecisionService:
    """Makes the decisions of risk, stores them, and publishes their events through the outbox.

    Args:
        store: risk's store.
        views: prices and market time.
        instruments: returns today's instruments.
        calendar: the exchange's sessions.
        limits: the limits from the settings.
        strategy_statuses: the latest state of each strategy.
        wall_time: returns the current wall time, aware; only event envelopes carry it.
        price_budget_seconds: timeout for reading prices.
        funds: how accounts' funds are measured, by simulated broker.
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
        price_budget_seconds: float = PRICE_BUDGET_SECONDS,
        funds: Mapping[str, FundsTerms] | None = None,
    ) -> None:
        self._store = store
        self._views = views
        self._instruments = instruments
        self._calendar = calendar
        self._limits = limits
        self._strategy_statuses = strategy_statuses
        self._wall_time = wall_time
        self._price_budget = price_budget_seconds
        self._funds: Mapping[str, FundsTerms] = funds or MappingProxyType({})
        self._account_locks: WeakValueDictionary[_Account, asyncio.Lock] = WeakValueDictionary()
        self._authorising: GroupCommits[_Account, Signal, Verdict] = GroupCommits(
            self._authorize, _AUTHORISED_TOGETHER
        )
        self._judging: GroupCommits[_Account, Sequence[Signal], TransientFailure | None] = GroupCommits(
            self._judge_batches, _DECIDED_TOGETHER
        )
        self._lock_at_once: dict[_Account, int] = {}
        self._position_tokens: dict[_Account, frozenset[int]] = {}

    @property
    def limits(self) -> Limits:
        """The limits from the settings."""
        return self._limits

    @property
    def calendar(self) -> TradingCalendar:
        """The exchange's sessions."""
        return self._calendar

    async def judge(self, broker: str, account: str, signals: Sequence[Signal]) -> list[Verdict]:
        """Decides signals of one account, in order; a signal that was decided before is skipped.

        Raises:
            TransientFailure: the revision of a strategy isn't known yet.
        """

        def decide(book: RiskBook, inputs: Inputs) -> list[Verdict]:
            return [verdict for signal in signals for verdict in book.judge(signal, inputs)]

        keys = [signal.key for signal in signals]
        tokens, signal_ids = {one.instrument_token for one in signals}, {one.signal_id for one in signals}
        return await self._decide(_DecisionRequest((broker, account), keys, tokens, signal_ids, decide))

    async def judge_together(self, broker: str, account: str, signals: Sequence[Signal]) -> None:
        """Decides a batch of signals of one account, together with those that other partitions bring at the same moment.

        So the signals of one frame are decided in one order, whatever the partitions, before any of their orders fills.

        Raises:
            TransientFailure: the revision of a strategy of this batch isn't known yet.
        """
        failure = await self._judging.submit((broker, account), signals)
        if failure is not None:
            raise failure

    async def _judge_batches(self, batches: Sequence[Sequence[Signal]]) -> Sequence[TransientFailure | None]:
        """Decides batches of one account as one; where that has to wait, each by itself. Returns what each waits for."""
        key, signals = batches[0][0].key, in_turn(batches)
        try:
            await self.judge(key.broker, key.account, signals)
        except TransientFailure as failure:
            if len(batches) == 1:
                return [failure]
            places = {signal.signal_id: place for place, signal in enumerate(signals)}
            outcomes: list[TransientFailure | None] = [None] * len(batches)
            for at in sorted(range(len(batches)), key=lambda at: places[batches[at][0].signal_id]):
                (outcomes[at],) = await self._judge_batches([batches[at]])
            return outcomes
        return [None] * len(batches)

    async def discard(self, signal: Signal) -> list[Verdict]:
        """Refuses a parked signal that a person discarded, as DISCARDED, unless it has a verdict."""
        return await self._decide(
            _DecisionRequest(
                (signal.key.broker, signal.key.account),
                [signal.key],
                [signal.instrument_token],
                [signal.signal_id],
                lambda book, inputs: book.discard(signal, inputs),
            )
        )

    async def apply(self, broker: str, account: str, events: Sequence[OrderUpdate]) -> list[Verdict]:
        """Applies order events of one account; decides targets that waited for the orders that have ended.

        Raises:
            TransientFailure: the revision of a waiting target's strategy isn't known yet.
        """

        def decide(book: RiskBook, inputs: Inputs) -> list[Verdict]:
            return [verdict for one in events for verdict in book.on_order(one.order, inputs, _fill(one))]

        orders = [one.order for one in events]
        keys = [order.key for order in orders]
        tokens, signal_ids = {one.instrument_token for one in orders}, {one.signal_id for one in orders}
        return await self._decide(_DecisionRequest((broker, account), keys, tokens, signal_ids, decide))

    async def release(self, key: PositionKey, signal_id: str) -> list[Verdict]:
        """Ends the reservation of an order that trading said will never exist; decides the target that waited for it.

        Raises:
            TransientFailure: the revision of the waiting target's strategy isn't known yet.
        """
        instrument = self._instruments().by_id(key.instrument_id)
        return await self._decide(
            _DecisionRequest(
                (key.broker, key.account),
                [key],
                [instrument.instrument_token] if instrument is not None else [],
                [signal_id],
                lambda book, inputs: book.release(key, signal_id, inputs),
            )
        )

    async def authorize(self, signal: Signal) -> Verdict:
        """Decides an explicit order; if it was decided before, returns that verdict.

        Orders of one account that are asked for while a decision on it is under way are decided together.
        """
        return await self._authorising.submit((signal.key.broker, signal.key.account), signal)

    async def _authorize(self, signals: Sequence[Signal]) -> list[Verdict]:
        """Decides explicit orders of one account, in one decision; returns the verdict on each."""
        key = signals[0].key
        given = {one.signal_id: one for one in await self.judge(key.broker, key.account, signals)}
        verdicts = []
        for signal in signals:
            found = given.get(signal.signal_id) or await self._store.verdict(signal.signal_id)
            if found is None or isinstance(found, Signal):
                raise LookupError(f"no verdict was stored on the explicit order {signal.signal_id}")
            verdicts.append(found)
        return verdicts

    async def inspect(
        self, broker: str, account: str, keys: Sequence[PositionKey] = (), tokens: Collection[int] = ()
    ) -> tuple[RiskBook, Inputs]:
        """Reads the whole account and the inputs of a decision on it. Nothing is stored.

        Args:
            broker: the account's broker.
            account: the account.
            keys: positions to load even if they are flat.
            tokens: tokens of instruments whose prices to read even if no position holds them.
        """
        async with self._store.unit(broker, account, dry=True) as unit:
            book = await unit.book(keys, (), whole=True)
        return book, self._inputs(await self.market({*tokens, *self._tokens_of(book)}), unit, broker)

    async def demand_square_offs(
        self, keys: Sequence[PositionKey], market: MarketView, cause: str
    ) -> list[Signal]:
        """Publishes the square-off signals that are due for these positions of one account.

        Repeating it publishes no signal twice, because a signal's id follows from the position and the due time.
        """
        broker, account = keys[0].broker, keys[0].account
        async with self._store.unit(broker, account) as unit:
            book = await unit.book(keys, ())
            signals = book.due(self._inputs(market, unit, broker), (broker,), cause)
            now = self._wall_time()
            await unit.save(book, (), [signal_event(signal, SOURCE, now) for signal in signals])
        return signals

    async def market(self, tokens: Iterable[int]) -> MarketView:
        """Reads prices and market time; everything is unknown if Redis is down or slow (then only exits pass)."""
        try:
            return await within(self._price_budget, self._views.view(list(tokens)))
        except (RedisError, OSError) as error:  # a time-out is an OSError
            _log.warning("market.view_unavailable", error=in_one_line(error))
            return NOTHING_KNOWN

    async def _decide(self, request: _DecisionRequest) -> list[Verdict]:
        while True:
            try:
                return await self._decide_once(request)
            except StrategyRevisionUnknown as unknown:
                if not self._strategy_statuses.has_timed_out(unknown):
                    raise TransientFailure(str(unknown)) from unknown

    async def _decide_once(self, request: _DecisionRequest) -> list[Verdict]:
        """Makes a decision; within this process, decisions on one account run one after the other."""
        account = request.account
        tokens = {*request.tokens, *self._position_tokens.get(account, ())}
        locked = account in self._lock_at_once
        if locked:
            self._lock_at_once[account] -= 1
            if not self._lock_at_once[account]:
                del self._lock_at_once[account]
        for _ in range(_MAX_ATTEMPTS):
            market = await self.market(tokens)
            async with self._account_locks.setdefault(account, asyncio.Lock()):
                attempt = self._decide_locked if locked else self._decide_unlocked
                decided = await attempt(request, market, tokens)
            if not isinstance(decided, _Retry):
                for verdict in decided:
                    _log_verdict(verdict)
                return decided
            tokens |= decided.missing
            locked = locked or decided.locked
        raise TransientFailure(
            f"the positions of {account} changed during each of {_MAX_ATTEMPTS} attempts to decide"
        )

    async def _decide_unlocked(
        self, request: _DecisionRequest, market: MarketView, tokens: Collection[int]
    ) -> list[Verdict] | _Retry:
        account = request.account
        whole = account in self._position_tokens
        reading = await self._store.read(*account, request.keys, request.signal_ids, whole=whole)
        if reading is None:
            return _Retry(locked=True)
        book = reading.book()
        if missing := self._missing(account, reading, book, tokens, whole=whole):
            return missing
        before = book.days.get((*account, WHOLE_ACCOUNT))
        verdicts = request.decide(book, self._inputs(market, reading, account[0]))
        if _tripped(book.days.get((*account, WHOLE_ACCOUNT))) != _tripped(before):
            return _Retry(locked=True)
        events = [self._event(verdict) for verdict in verdicts]
        if await self._store.save_if_unchanged(reading, book, verdicts, events):
            return verdicts
        if len(self._lock_at_once) >= ACCOUNTS_REMEMBERED:
            self._lock_at_once.clear()
        self._lock_at_once[account] = _LOCKED_AFTER_CHANGE
        return _Retry(locked=True)

    async def _decide_locked(
        self, request: _DecisionRequest, market: MarketView, tokens: Collection[int]
    ) -> list[Verdict] | _Retry:
        account = request.account
        async with self._store.unit(*account) as unit:
            whole = unit.limits.may_set(ACCOUNT_WIDE, self._limits)
            book = await unit.book(request.keys, request.signal_ids, whole=whole)
            if missing := self._missing(account, unit, book, tokens, whole=whole):
                return missing
            before = book.days.get((*account, WHOLE_ACCOUNT))
            verdicts = request.decide(book, self._inputs(market, unit, account[0]))
            await unit.save(book, verdicts, [self._event(verdict) for verdict in verdicts])
            after = book.days.get((*account, WHOLE_ACCOUNT))
            if after is not None and _tripped(after) != _tripped(before):
                await self._announce_trip(unit, after)
        return verdicts

    def _missing(
        self,
        account: _Account,
        facts: AccountFacts,
        book: RiskBook,
        tokens: Collection[int],
        *,
        whole: bool,
    ) -> _Retry | None:
        """What has to be read first, if a limit needs the whole account and its prices; None if nothing."""
        if not facts.limits.may_set(ACCOUNT_WIDE, self._limits):
            self._position_tokens.pop(account, None)
            return None
        if len(self._position_tokens) >= ACCOUNTS_REMEMBERED and account not in self._position_tokens:
            self._position_tokens.clear()  # read again with the next decision on each
        held = self._position_tokens[account] = self._tokens_of(book)
        missing = held.difference(tokens)
        return _Retry(missing) if missing or not whole else None

    async def _announce_trip(self, unit: DecisionUnit, today: DayCounters) -> None:
        """Sets the account's own kill switch: REDUCING if the daily loss tripped, ACTIVE on the next day."""
        switch = next_switch(
            await unit.account_switch(),
            TradingState.REDUCING if today.tripped else TradingState.ACTIVE,
            today.tripped or f"{today.day} is a new day",
            self._wall_time(),
        )
        await unit.save_account_switch(switch, account_switch_event(switch))
        _log.warning(
            "account.entries_stopped" if today.tripped else "account.entries_resumed",
            broker=switch.scope.broker,
            account=switch.scope.account,
            message=switch.reason,
        )

    def _tokens_of(self, book: RiskBook) -> frozenset[int]:
        instruments = self._instruments()
        known = (instruments.by_id(key.instrument_id) for key in book.positions)
        return frozenset(instrument.instrument_token for instrument in known if instrument)

    def _inputs(self, market: MarketView, facts: AccountFacts, broker: str) -> Inputs:
        return Inputs(
            market,
            self._instruments(),
            self._calendar,
            self._limits,
            facts.trading_state,
            self._strategy_statuses.known,
            self._strategy_statuses.timed_out,
            facts.limits,
            facts.strategy_switches,
            facts.unknown_positions,
            self._funds.get(broker),
        )

    def _event(self, verdict: Verdict) -> Event:
        event_id = ids.output_id(SOURCE, verdict.signal_id, "verdict")
        return verdict_event(verdict, event_id, verdict.signal_id, SOURCE, self._wall_time())


def _tripped(counters: DayCounters | None) -> bool:
    return counters is not None and bool(counters.tripped)


def _fill(update: OrderUpdate) -> Fill | None:
    return update.fill if isinstance(update, Filled) else None


def by_account(keys: Sequence[PositionKey]) -> dict[tuple[str, str], list[int]]:
    """The indexes of the keys of each (broker, account), in order."""
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
        about.info("signal.validated", side=verdict.side.name, quantity=verdict.quantity)
    else:
        about.info("signal.rejected", reason=verdict.reason, message=verdict.message)
