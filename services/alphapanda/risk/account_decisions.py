"""Makes a decision on an account: read it, decide, store by compare-and-set.

If the account has changed since it was read, the decision is made again under the account's lock. Prices are read from
Redis before, so that nothing waits for Redis while the lock is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from weakref import WeakValueDictionary

import structlog

from alphapanda.contract.wire import verdict_event
from alphapanda.domain import ids
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import TradingState
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.verdict import Approved, Verdict
from alphapanda.resilience.failures import TransientFailure
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import Inputs, StrategyRevisionUnknown
from alphapanda.risk.core.day import WHOLE_ACCOUNT, DayCounters
from alphapanda.risk.core.named_limits import ACCOUNT_WIDE
from alphapanda.risk.decision_inputs import DecisionInputs
from alphapanda.risk.measuring import DecisionFigures
from alphapanda.risk.store.port import ACCOUNTS_REMEMBERED, AccountFacts, DecisionUnit, RiskStore
from alphapanda.risk.switch_events import SOURCE, account_switch_event, next_switch
from panda.events.v1.events_pb2 import Event

_MAX_ATTEMPTS = 8
_LOCKED_AFTER_CHANGE = 16
"""Number of decisions on an account that lock it at once, after another process changed it during a decision."""

Account = tuple[str, str]
"""Broker and account."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """A decision to make, and what it needs.

    Attributes:
        account: broker and account.
        keys: keys of the positions to load.
        tokens: tokens of the instruments whose prices are needed.
        signal_ids: ids of the signals and orders to load.
        decide: changes the book and returns the verdicts.
    """

    account: Account
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


class AccountDecisions:
    """Makes decisions on accounts, stores them, and puts their events into the outbox.

    Args:
        store: risk's store.
        inputs: reads what decisions need besides the account.
        wall_time: returns the current wall time, aware; only event envelopes carry it.
        measured: reports verdicts; None: they aren't measured.
    """

    def __init__(
        self,
        store: RiskStore,
        inputs: DecisionInputs,
        wall_time: Callable[[], datetime],
        measured: DecisionFigures | None = None,
    ) -> None:
        self._measured = measured or DecisionFigures()
        self._store = store
        self._inputs = inputs
        self._wall_time = wall_time
        self._account_locks: WeakValueDictionary[Account, asyncio.Lock] = WeakValueDictionary()
        self._lock_at_once: dict[Account, int] = {}
        self._position_tokens: dict[Account, frozenset[int]] = {}

    async def make(self, request: DecisionRequest) -> list[Verdict]:
        """Makes a decision and stores it; within this process, decisions on one account run one after the other.

        Raises:
            TransientFailure: the revision of a strategy isn't known yet, or the account changed during every attempt.
        """
        while True:
            try:
                return await self._decide_once(request)
            except StrategyRevisionUnknown as unknown:
                if not self._inputs.strategy_statuses.has_timed_out(unknown):
                    raise TransientFailure(str(unknown)) from unknown

    async def _decide_once(self, request: DecisionRequest) -> list[Verdict]:
        account = request.account
        tokens = {*request.tokens, *self._position_tokens.get(account, ())}
        locked = account in self._lock_at_once
        if locked:
            self._lock_at_once[account] -= 1
            if not self._lock_at_once[account]:
                del self._lock_at_once[account]
        for _ in range(_MAX_ATTEMPTS):
            market = await self._inputs.market(tokens)
            async with self._account_locks.setdefault(account, asyncio.Lock()):
                attempt = self._decide_locked if locked else self._decide_unlocked
                decided = await attempt(request, market, tokens)
            if not isinstance(decided, _Retry):
                for verdict in decided:
                    _log_verdict(verdict)
                    self._measured.decided(verdict)
                return decided
            tokens |= decided.missing
            locked = locked or decided.locked
        raise TransientFailure(
            f"the positions of {account} changed during each of {_MAX_ATTEMPTS} attempts to decide"
        )

    async def _decide_unlocked(
        self, request: DecisionRequest, market: MarketView, tokens: Collection[int]
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
        verdicts = request.decide(book, self._inputs.of(market, reading, account[0]))
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
        self, request: DecisionRequest, market: MarketView, tokens: Collection[int]
    ) -> list[Verdict] | _Retry:
        account = request.account
        async with self._store.unit(*account) as unit:
            whole = unit.limits.may_set(ACCOUNT_WIDE, self._inputs.limits_at(account[0]))
            book = await unit.book(request.keys, request.signal_ids, whole=whole)
            if missing := self._missing(account, unit, book, tokens, whole=whole):
                return missing
            before = book.days.get((*account, WHOLE_ACCOUNT))
            verdicts = request.decide(book, self._inputs.of(market, unit, account[0]))
            await unit.save(book, verdicts, [self._event(verdict) for verdict in verdicts])
            after = book.days.get((*account, WHOLE_ACCOUNT))
            if after is not None and _tripped(after) != _tripped(before):
                await self._announce_trip(unit, after)
        return verdicts

    def _missing(
        self,
        account: Account,
        facts: AccountFacts,
        book: RiskBook,
        tokens: Collection[int],
        *,
        whole: bool,
    ) -> _Retry | None:
        """What has to be read first, if a limit needs the whole account and its prices; None if nothing."""
        if not facts.limits.may_set(ACCOUNT_WIDE, self._inputs.limits_at(account[0])):
            self._position_tokens.pop(account, None)
            return None
        if len(self._position_tokens) >= ACCOUNTS_REMEMBERED and account not in self._position_tokens:
            self._position_tokens.clear()  # read again with the next decision on each
        held = self._position_tokens[account] = self._inputs.tokens_of(book)
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

    def _event(self, verdict: Verdict) -> Event:
        event_id = ids.output_id(SOURCE, verdict.signal_id, "verdict")
        return verdict_event(verdict, event_id, verdict.signal_id, SOURCE, self._wall_time())


def _tripped(counters: DayCounters | None) -> bool:
    return counters is not None and bool(counters.tripped)


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
