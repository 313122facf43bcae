"""Risk's store in memory, for the simulation and for tests: nothing survives."""

from __future__ import annotations

from asyncio import Lock
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from types import MappingProxyType

from google.protobuf.message import Message
from typing_extensions import override

from alphapanda.domain.funds import AccountFunds
from alphapanda.domain.order import Product, TradingState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import Approved, Verdict
from alphapanda.risk.core.book import RiskBook, Superseded
from alphapanda.risk.core.day import WHOLE_ACCOUNT
from alphapanda.risk.core.limit_changes import LimitChange, changed
from alphapanda.risk.core.scoped_limits import NOTHING_SET, ScopedLimits
from alphapanda.risk.store.port import (
    AccountReading,
    Answer,
    Arming,
    Change,
    DecisionUnit,
    DueReconciliation,
    HeldPosition,
    KillSwitch,
    NumberedVerdict,
    Reservation,
    RiskStore,
    SwitchScope,
    VerdictFilter,
)
from alphapanda.storage.requests import CommandKey, RequestReused
from panda.events.v1.events_pb2 import Event


@dataclass(slots=True)
class _Tables:
    """What there would be in a schema."""

    starting_cash: Mapping[str, Decimal] = field(default_factory=dict)
    events: dict[str, Event] = field(default_factory=dict)
    book: RiskBook = field(default_factory=RiskBook)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    switches: dict[SwitchScope, KillSwitch] = field(default_factory=dict)
    limits: dict[tuple[str, str], ScopedLimits] = field(default_factory=dict)
    armings: dict[tuple[str, str], Arming] = field(default_factory=dict)
    versions: dict[tuple[str, str], int] = field(default_factory=dict)
    requests: dict[CommandKey, tuple[bytes, bytes]] = field(default_factory=dict)

    def publish(self, events: Sequence[Event]) -> None:
        for event in events:
            self.events.setdefault(event.event_id, event)

    def part(
        self,
        whose: tuple[str, str],
        keys: Collection[PositionKey],
        signal_ids: Collection[str],
        *,
        whole: bool,
    ) -> RiskBook:
        kept = self.book
        alive = [state.key for state in kept.active_positions(*whose)] if whole else []
        strategies = {WHOLE_ACCOUNT, *(key.strategy_id for key in keys)}
        return RiskBook(
            [kept.positions[key] for key in dict.fromkeys([*keys, *alive]) if key in kept.positions],
            [kept.orders[one] for one in signal_ids if one in kept.orders],
            kept.judged.intersection(signal_ids),
            {
                key: counters
                for key, counters in kept.days.items()
                if key[:2] == whose and key[2] in strategies
            },
            self.funds_of(whose),
            {key: found for key, found in kept.rejections.items() if key[:2] == whose},
        )

    def funds_of(self, whose: tuple[str, str]) -> dict[tuple[str, str], AccountFunds]:
        kept, cash = self.book.funds.get(whose), self.starting_cash.get(whose[0])
        if kept is None and cash is not None:
            kept = AccountFunds(cash)
        return {} if kept is None else {whose: kept}

    def given(self, key: CommandKey, request: Message) -> bytes | None:
        if key not in self.requests:
            return None
        seen, answer = self.requests[key]
        if seen != request.SerializeToString(deterministic=True):
            raise RequestReused(key.request_id)
        return answer

    def remember(self, key: CommandKey, request: Message, answer: Message) -> bytes:
        told = answer.SerializeToString(deterministic=True)
        self.requests[key] = (request.SerializeToString(deterministic=True), told)
        return told


class _Facts:
    """What a decision reads besides the book, as it is now."""

    def __init__(self, tables: _Tables, broker: str, account: str) -> None:
        switches = {
            scope.strategy_id: switch
            for scope, switch in tables.switches.items()
            if scope.broker == broker and not scope.account
        }
        states = {strategy_id: switch.state for strategy_id, switch in switches.items()}
        self.trading_state = states.pop("", TradingState.ACTIVE)
        self.strategy_switches = states
        self.limits = tables.limits.get((broker, account), NOTHING_SET)
        self.arming = tables.armings.get((broker, account), Arming())
        self.read_at = (
            tables.versions.get((broker, account), 0),
            sum(switch.revision for switch in switches.values()),
        )


class _Reading(AccountReading):
    """An account at its version."""

    def __init__(self, whose: tuple[str, str], facts: _Facts, part: RiskBook) -> None:
        self.whose = whose
        self.facts = facts
        self._part = part

    @property
    @override
    def trading_state(self) -> TradingState:
        return self.facts.trading_state

    @property
    @override
    def strategy_switches(self) -> Mapping[str, TradingState]:
        return self.facts.strategy_switches

    @property
    @override
    def unknown_positions(self) -> frozenset[tuple[str, int]]:
        return frozenset()  # the simulation parks nothing

    @property
    @override
    def limits(self) -> ScopedLimits:
        return self.facts.limits

    @property
    @override
    def armed_day(self) -> date | None:
        return self.facts.arming.day

    @override
    def book(self) -> RiskBook:
        part = self._part
        return RiskBook(
            part.positions.values(), part.orders.values(), part.judged, part.days, part.funds, part.rejections
        )


class MemoryRiskStore(RiskStore):
    """The port in dictionaries; `starting_cash` is the cash of a new account in rupees, by simulated broker."""

    def __init__(self, starting_cash: Mapping[str, Decimal] = MappingProxyType({})) -> None:
        self._tables = _Tables(starting_cash)
        self._alone = Lock()

    @property
    def events(self) -> dict[str, Event]:
        """What would be in the outbox, in order, each id once."""
        return self._tables.events

    @override
    async def prepare(self, brokers: Sequence[str]) -> None:
        for broker in brokers:
            self._tables.switches.setdefault(SwitchScope(broker), KillSwitch(SwitchScope(broker)))

    @override
    @asynccontextmanager
    async def unit(self, broker: str, account: str, *, dry: bool = False) -> AsyncGenerator[_Unit]:
        async with self._alone:  # one for all accounts: a kill switch waits for every decision under way
            unit = _Unit(self._tables, broker, account)
            yield unit
            if not dry:
                unit.commit()

    @override
    async def read(
        self,
        broker: str,
        account: str,
        keys: Collection[PositionKey],
        signal_ids: Collection[str],
        *,
        whole: bool = False,
    ) -> _Reading | None:
        whose = (broker, account)
        if whose not in self._tables.versions:
            return None
        part = self._tables.part(whose, keys, signal_ids, whole=whole)
        return _Reading(whose, _Facts(self._tables, broker, account), part)

    @override
    async def save_if_unchanged(
        self, reading: AccountReading, book: RiskBook, verdicts: Sequence[Verdict], events: Sequence[Event]
    ) -> bool:
        if not isinstance(reading, _Reading):
            raise TypeError(f"{type(reading).__name__} is not a reading of this store")
        async with self._alone:
            if _Facts(self._tables, *reading.whose).read_at != reading.facts.read_at:
                return False
            unit = _Unit(self._tables, *reading.whose)
            await unit.save(book, verdicts, events)
            unit.commit()
            return True

    @override
    async def verdict(self, signal_id: str) -> Verdict | Signal | None:
        if signal_id in self._tables.verdicts:
            return self._tables.verdicts[signal_id]
        waiting = (state.waiting for state in self._tables.book.positions.values())
        return next((signal for signal in waiting if signal and signal.signal_id == signal_id), None)

    @override
    async def verdicts(
        self, wanted: VerdictFilter, before: int | None, limit: int
    ) -> Sequence[NumberedVerdict]:
        numbered = enumerate(self._tables.verdicts.values(), 1)
        found = (
            NumberedVerdict(number, verdict)
            for number, verdict in reversed(list(numbered))
            if (before is None or number < before) and _is_wanted(verdict, wanted)
        )
        return list(islice(found, limit))

    @override
    async def held_intraday(self, brokers: Collection[str]) -> Sequence[HeldPosition]:
        return self._held(brokers, Product.MIS)

    @override
    async def held_contracts(self, brokers: Collection[str]) -> Sequence[HeldPosition]:
        return self._held(brokers, Product.NRML)

    def _held(self, brokers: Collection[str], product: Product) -> Sequence[HeldPosition]:
        return [
            HeldPosition(key, state.opened_at)
            for key, state in self._tables.book.positions.items()
            if state.quantity and key.product is product and key.broker in brokers
        ]

    @override
    async def overdue_reservations(
        self, brokers: Collection[str], entries_before: datetime, exits_before: datetime
    ) -> Sequence[Reservation]:
        open_orders = (state.open for state in self._tables.book.positions.values())
        unseen = {order.signal_id for order in open_orders if order is not None and not order.revision}
        return [
            Reservation(verdict.key, verdict.signal_id)
            for verdict in self._tables.verdicts.values()
            if isinstance(verdict, Approved)
            and verdict.signal_id in unseen
            and verdict.key.broker in brokers
            and verdict.valid_until < (entries_before if verdict.effect.is_entry else exits_before)
        ]

    @override
    async def superseded(self, brokers: Collection[str]) -> Sequence[Superseded]:
        return [
            Superseded(key, state.open.signal_id, state.waiting.signal_id)
            for key, state in self._tables.book.positions.items()
            if key.broker in brokers and state.open and state.open.rests and state.waiting
        ]

    @override
    async def accounts(self, broker: str) -> Collection[str]:
        return [account for at, account in self._tables.versions if at == broker]

    @override
    async def kill_switch(self, scope: SwitchScope) -> KillSwitch:
        return self._tables.switches.get(scope) or KillSwitch(scope)

    @override
    async def strategy_switches(self, brokers: Collection[str]) -> Sequence[KillSwitch]:
        switches = self._tables.switches
        return [
            switches[scope] for scope in sorted(switches) if scope.strategy_id and scope.broker in brokers
        ]

    @override
    async def reconciliation_due(self, broker: str) -> DueReconciliation | None:
        return None  # only a repair or a restore of a data directory makes one due

    @override
    async def end_reconciliation(self, broker: str) -> None:
        """Does nothing: none is ever due."""

    @override
    async def held(self, broker: str) -> Mapping[tuple[str, str, Product], int]:
        raise NotImplementedError("no broker is reconciled here")

    @override
    async def set_kill_switch(
        self, key: CommandKey, request: Message, scope: SwitchScope, change: Change, answer: Answer
    ) -> bytes:
        async with self._alone:
            given = self._tables.given(key, request)
            if given is not None:
                return given
            stands = await self.kill_switch(scope)
            changed_to = change(stands)
            if changed_to is not None:
                stands, event = changed_to
                self._tables.switches[scope] = stands
                self._tables.publish([event])
            return self._tables.remember(key, request, answer(stands))


class _Unit(DecisionUnit):
    """Works on copies; what it saved is taken over when it has ended well."""

    def __init__(self, tables: _Tables, broker: str, account: str) -> None:
        self._facts = _Facts(tables, broker, account)
        self._tables = tables
        self._whose = (broker, account)
        self._book = RiskBook()
        self._verdicts: dict[str, Verdict] = {}
        self._events: list[Event] = []
        self._switch: KillSwitch | None = None
        self._limits = self._facts.limits
        self._arming = self._facts.arming
        self._claimed: dict[CommandKey, Message] = {}
        self._answers: dict[CommandKey, Message] = {}

    @property
    @override
    def trading_state(self) -> TradingState:
        return self._facts.trading_state

    @property
    @override
    def strategy_switches(self) -> Mapping[str, TradingState]:
        return self._facts.strategy_switches

    @property
    @override
    def unknown_positions(self) -> frozenset[tuple[str, int]]:
        return frozenset()  # the simulation parks nothing

    @property
    @override
    def limits(self) -> ScopedLimits:
        return self._facts.limits

    @property
    @override
    def armed_day(self) -> date | None:
        return self._facts.arming.day

    @override
    async def book(
        self, keys: Collection[PositionKey], signal_ids: Collection[str], *, whole: bool = False
    ) -> RiskBook:
        return self._tables.part(self._whose, keys, signal_ids, whole=whole)

    @override
    async def verdict(self, signal_id: str) -> Verdict | None:
        return self._tables.verdicts.get(signal_id)

    @override
    async def save(self, book: RiskBook, verdicts: Sequence[Verdict], events: Sequence[Event]) -> None:
        self._book = book
        self._verdicts = {verdict.signal_id: verdict for verdict in verdicts}
        self._events += events

    @override
    async def account_switch(self) -> KillSwitch:
        scope = SwitchScope(self._whose[0], account=self._whose[1])
        return self._tables.switches.get(scope) or KillSwitch(scope)

    @override
    async def save_account_switch(self, switch: KillSwitch, event: Event) -> None:
        self._switch = switch
        self._events.append(event)

    @override
    async def save_limits(self, change: LimitChange) -> None:
        self._limits = changed(self._facts.limits, change)

    @override
    async def arming(self) -> Arming:
        return self._arming

    @override
    async def save_arming(self, arming: Arming) -> None:
        self._arming = arming

    @override
    async def save_halts(self, revision: int, halts: Mapping[str, str]) -> None:
        self._limits = replace(self._facts.limits, halts=dict(halts), halts_revision=revision)

    @override
    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        self._claimed[key] = request
        return self._tables.given(key, request)

    @override
    async def remember(self, key: CommandKey, answer: Message) -> None:
        self._answers[key] = answer

    def commit(self) -> None:
        """Takes over what was saved."""
        tables, kept = self._tables, self._tables.book
        kept.positions |= self._book.positions
        kept.orders |= self._book.orders
        kept.judged |= self._book.judged
        kept.days |= self._book.days
        kept.rejections |= self._book.rejections
        kept.funds |= self._book.funds
        tables.verdicts |= self._verdicts
        tables.limits[self._whose] = self._limits
        tables.armings[self._whose] = self._arming
        if self._switch is not None:
            tables.switches[self._switch.scope] = self._switch
        tables.versions[self._whose] = tables.versions.get(self._whose, 0) + 1
        tables.publish(self._events)
        for key, answer in self._answers.items():
            tables.remember(key, self._claimed[key], answer)


def _is_wanted(verdict: Verdict, wanted: VerdictFilter) -> bool:
    key, decided_at = verdict.key, verdict.decided_at
    fields = (
        (wanted.broker, key.broker),
        (wanted.account, key.account),
        (wanted.strategy_id, key.strategy_id),
        (wanted.instrument_id, key.instrument_id),
    )
    return (
        all(asked in ("", has) for asked, has in fields)
        and wanted.approved in (None, isinstance(verdict, Approved))
        and (wanted.since is None or (decided_at is not None and decided_at >= wanted.since))
        and (wanted.until is None or (decided_at is not None and decided_at < wanted.until))
    )
