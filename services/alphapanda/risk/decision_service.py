"""Makes every decision of risk, whoever asks for it: read the account, decide, store by compare-and-set.

Where the account has changed since it was read, the decision is made anew under the account's lock. Prices are read
before, with a budget of their own: nothing is awaited of Redis while the lock is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
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
from alphapanda.domain.order_events import Fill, Filled, OrderUpdate
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import Approved, Verdict
from alphapanda.resilience.failures import TransientFailure, in_one_line
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import Inputs, StrategyRevisionUnknown
from alphapanda.risk.core.day import WHOLE_ACCOUNT, DayCounters
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.named_limits import ACCOUNT_WIDE
from alphapanda.risk.store.port import AccountFacts, DecisionUnit, RiskStore
from alphapanda.risk.strategy_statuses import StrategyStatuses
from alphapanda.risk.switch_events import SOURCE, account_switch_event, next_switch
from alphapanda.storage.price_cache import MarketViews
from panda.events.v1.events_pb2 import Event

Instruments = Callable[[], InstrumentDirectory]
"""The instruments of today; asked anew each time, because the directory is replaced as a whole."""

PRICE_BUDGET_SECONDS = 0.25
"""How long Redis is waited for; after that the market is unknown, as where Redis is away."""

_MOST_ATTEMPTS = 8
_LOCKED_AFTER_CHANGE = 16
"""Decisions on an account that take its lock at once after another process got in between: it will again."""

_Account = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Question:
    """What a decision is asked about, and how it is made.

    Attributes:
        account: broker and account.
        keys: of the positions that are needed.
        tokens: of the instruments whose prices are needed.
        signal_ids: of the signals and orders that are needed.
        decide: changes the book and returns the verdicts.
    """

    account: _Account
    keys: Sequence[PositionKey]
    tokens: Collection[int]
    signal_ids: Collection[str]
    decide: Callable[[RiskBook, Inputs], list[Verdict]]


@dataclass(frozen=True, slots=True)
class _Again:
    """Nothing was decided.

    Attributes:
        missing: tokens whose prices have to be read first.
        locked: whether the account's lock is needed.
    """

    missing: frozenset[int] = frozenset()
    locked: bool = False


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
        price_budget_seconds: how long prices are waited for.
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
    ) -> None:
        self._store = store
        self._views = views
        self._instruments = instruments
        self._calendar = calendar
        self._limits = limits
        self._strategy_statuses = strategy_statuses
        self._wall_time = wall_time
        self._price_budget = price_budget_seconds
        self._turns: dict[_Account, asyncio.Lock] = {}
        self._lock_at_once: dict[_Account, int] = {}
        self._held_tokens: dict[_Account, frozenset[int]] = {}

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

        def decide(book: RiskBook, inputs: Inputs) -> list[Verdict]:
            return [verdict for signal in signals for verdict in book.judge(signal, inputs)]

        keys = [signal.key for signal in signals]
        tokens, signal_ids = {one.instrument_token for one in signals}, {one.signal_id for one in signals}
        return await self._decide(_Question((broker, account), keys, tokens, signal_ids, decide))

    async def discard(self, signal: Signal) -> list[Verdict]:
        """Ends a parked signal that a person gave up: refused as DISCARDED, where it has no verdict yet."""
        return await self._decide(
            _Question(
                (signal.key.broker, signal.key.account),
                [signal.key],
                [signal.instrument_token],
                [signal.signal_id],
                lambda book, inputs: book.discard(signal, inputs),
            )
        )

    async def apply(self, broker: str, account: str, events: Sequence[OrderUpdate]) -> list[Verdict]:
        """Applies order events of one account; a target whose turn has come is judged.

        Raises:
            TransientFailure: of that target's strategy the revision isn't known yet.
        """

        def decide(book: RiskBook, inputs: Inputs) -> list[Verdict]:
            return [verdict for one in events for verdict in book.on_order(one.order, inputs, _fill(one))]

        orders = [one.order for one in events]
        keys = [order.key for order in orders]
        tokens, signal_ids = {one.instrument_token for one in orders}, {one.signal_id for one in orders}
        return await self._decide(_Question((broker, account), keys, tokens, signal_ids, decide))

    async def release(self, key: PositionKey, signal_id: str) -> list[Verdict]:
        """Ends the reservation of an order that trading has said will never be; a target that waited for it is judged.

        Raises:
            TransientFailure: of that target's strategy the revision isn't known yet.
        """
        instrument = self._instruments().by_id(key.instrument_id)
        return await self._decide(
            _Question(
                (key.broker, key.account),
                [key],
                [instrument.instrument_token] if instrument is not None else [],
                [signal_id],
                lambda book, inputs: book.release(key, signal_id, inputs),
            )
        )

    async def authorize(self, signal: Signal) -> Verdict:
        """Judges an explicit order, or finds the verdict given on it before."""
        given = await self.judge(signal.key.broker, signal.key.account, [signal])
        verdict = next((one for one in given if one.signal_id == signal.signal_id), None)
        found = verdict or await self._store.verdict(signal.signal_id)
        if found is None or isinstance(found, Signal):
            raise LookupError(f"no verdict was stored on the explicit order {signal.signal_id}")
        return found

    async def inspect(
        self, broker: str, account: str, keys: Sequence[PositionKey] = (), tokens: Collection[int] = ()
    ) -> tuple[RiskBook, Inputs]:
        """The whole account as it is now, and what a decision on it would read. Nothing is stored.

        Args:
            broker: its broker.
            account: it.
            keys: positions that count though they are flat.
            tokens: of instruments whose prices count though nothing of them is held.
        """
        async with self._store.unit(broker, account, dry=True) as unit:
            book = await unit.book(keys, (), whole=True)
        return book, self._inputs(await self.market({*tokens, *self._tokens_of(book)}), unit)

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

    async def market(self, tokens: Iterable[int]) -> MarketView:
        """What is known of the market; nothing where the cache is away or slow (no entry passes then, exits do)."""
        try:
            async with asyncio.timeout(self._price_budget):
                return await self._views.view(list(tokens))
        except (RedisError, OSError) as error:  # a time-out is an OSError
            _log.warning("market.view_unavailable", error=in_one_line(error))
            return NOTHING_KNOWN

    async def _decide(self, question: _Question) -> list[Verdict]:
        while True:
            try:
                return await self._decide_once(question)
            except StrategyRevisionUnknown as unknown:
                if not self._strategy_statuses.is_given_up(unknown):
                    raise TransientFailure(str(unknown)) from unknown

    async def _decide_once(self, question: _Question) -> list[Verdict]:
        """One decision of this process at a time on an account: who would only come in between waits here."""
        account = question.account
        tokens = {*question.tokens, *self._held_tokens.get(account, ())}
        locked = self._lock_at_once.get(account, 0) > 0
        if locked:
            self._lock_at_once[account] -= 1
        for _ in range(_MOST_ATTEMPTS):
            market = await self.market(tokens)
            async with self._turns.setdefault(account, asyncio.Lock()):
                attempt = self._under_lock if locked else self._by_comparing
                decided = await attempt(question, market, tokens)
            if not isinstance(decided, _Again):
                for verdict in decided:
                    _log_verdict(verdict)
                return decided
            tokens |= decided.missing
            locked = locked or decided.locked
        raise TransientFailure(f"what {account} holds changed each time its prices had been read")

    async def _by_comparing(
        self, question: _Question, market: MarketView, tokens: Collection[int]
    ) -> list[Verdict] | _Again:
        account = question.account
        whole = account in self._held_tokens
        reading = await self._store.read(*account, question.keys, question.signal_ids, whole=whole)
        if reading is None:
            return _Again(locked=True)
        book = reading.book()
        if missing := self._missing(account, reading, book, tokens, whole=whole):
            return missing
        before = book.days.get((*account, WHOLE_ACCOUNT))
        verdicts = question.decide(book, self._inputs(market, reading))
        if _tripped(book.days.get((*account, WHOLE_ACCOUNT))) != _tripped(before):
            return _Again(locked=True)
        events = [self._event(verdict) for verdict in verdicts]
        if await self._store.save_if_unchanged(reading, book, verdicts, events):
            return verdicts
        self._lock_at_once[account] = _LOCKED_AFTER_CHANGE
        return _Again(locked=True)

    async def _under_lock(
        self, question: _Question, market: MarketView, tokens: Collection[int]
    ) -> list[Verdict] | _Again:
        account = question.account
        async with self._store.unit(*account) as unit:
            whole = unit.limits.may_set(ACCOUNT_WIDE, self._limits)
            book = await unit.book(question.keys, question.signal_ids, whole=whole)
            if missing := self._missing(account, unit, book, tokens, whole=whole):
                return missing
            before = book.days.get((*account, WHOLE_ACCOUNT))
            verdicts = question.decide(book, self._inputs(market, unit))
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
    ) -> _Again | None:
        """What has to be read first, where a limit takes the whole account and its prices to measure."""
        if not facts.limits.may_set(ACCOUNT_WIDE, self._limits):
            self._held_tokens.pop(account, None)
            return None
        held = self._held_tokens[account] = self._tokens_of(book)
        missing = held.difference(tokens)
        return _Again(missing) if missing or not whole else None

    async def _announce_trip(self, unit: DecisionUnit, today: DayCounters) -> None:
        """The account's own kill switch follows its daily loss: REDUCING when it trips, ACTIVE with the next day."""
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

    def _inputs(self, market: MarketView, facts: AccountFacts) -> Inputs:
        return Inputs(
            market,
            self._instruments(),
            self._calendar,
            self._limits,
            facts.trading_state,
            self._strategy_statuses.known,
            self._strategy_statuses.given_up,
            facts.limits,
            facts.strategy_switches,
            facts.unknown_positions,
        )

    def _event(self, verdict: Verdict) -> Event:
        event_id = ids.output_id(SOURCE, verdict.signal_id, "verdict")
        return verdict_event(verdict, event_id, verdict.signal_id, SOURCE, self._wall_time())


def _tripped(counters: DayCounters | None) -> bool:
    return counters is not None and bool(counters.tripped)


def _fill(update: OrderUpdate) -> Fill | None:
    return update.fill if isinstance(update, Filled) else None


def by_account(keys: Sequence[PositionKey]) -> dict[tuple[str, str], list[int]]:
    """The places in the sequence of each (broker, account), in order."""
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
