"""Risk's store in memory, for simulation: one transaction at a time, nothing survives."""

from __future__ import annotations

from asyncio import Lock
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager

from google.protobuf.message import Message

from alphapanda.domain.order import Product, TradingState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import Verdict
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.store.port import Answer, Change, HeldPosition, KillSwitch
from alphapanda.storage.requests import CommandKey, RequestReused
from panda.events.v1.events_pb2 import Event


class MemoryRiskStore:
    """The port in dictionaries.

    Attributes:
        events: what would be in the outbox, in order, each id once.
    """

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self._book = RiskBook()
        self._verdicts: dict[str, Verdict] = {}
        self._switches: dict[str, KillSwitch] = {}
        self._requests: dict[CommandKey, tuple[bytes, bytes]] = {}
        self._alone = Lock()

    async def prepare(self, brokers: Sequence[str]) -> None:
        """See RiskStore."""
        for broker in brokers:
            self._switches.setdefault(broker, KillSwitch(broker))

    @asynccontextmanager
    async def unit(self, broker: str, account: str) -> AsyncGenerator[_Unit]:  # noqa: ARG002 - one for all accounts
        """See RiskStore."""
        async with self._alone:
            unit = _Unit(self._book, self._verdicts, (await self.kill_switch(broker)).state)
            yield unit
            if unit.saved is not None:
                book, verdicts, events = unit.saved
                self._book.positions |= book.positions
                self._book.orders |= book.orders
                self._book.judged |= book.judged
                self._verdicts |= {verdict.signal_id: verdict for verdict in verdicts}
                self._publish(events)

    async def verdict(self, signal_id: str) -> Verdict | Signal | None:
        """See RiskStore."""
        if signal_id in self._verdicts:
            return self._verdicts[signal_id]
        waiting = (state.waiting for state in self._book.positions.values())
        return next((signal for signal in waiting if signal and signal.signal_id == signal_id), None)

    async def held_intraday(self, brokers: Collection[str]) -> Sequence[HeldPosition]:
        """See RiskStore."""
        return [
            HeldPosition(key, state.opened_at)
            for key, state in self._book.positions.items()
            if state.quantity and key.product is Product.MIS and key.broker in brokers
        ]

    async def kill_switch(self, broker: str) -> KillSwitch:
        """See RiskStore."""
        return self._switches.get(broker) or KillSwitch(broker)

    async def set_kill_switch(
        self, key: CommandKey, request: Message, broker: str, change: Change, answer: Answer
    ) -> bytes:
        """See RiskStore."""
        body = request.SerializeToString(deterministic=True)
        async with self._alone:  # the decisions under way are made by the state they read
            if key in self._requests:
                seen, given = self._requests[key]
                if seen != body:
                    raise RequestReused(key.request_id)
                return given
            stands = await self.kill_switch(broker)
            changed = change(stands)
            if changed is not None:
                stands, event = changed
                self._switches[broker] = stands
                self._publish([event])
            message = answer(stands).SerializeToString(deterministic=True)
            self._requests[key] = (body, message)
            return message

    def _publish(self, events: Sequence[Event]) -> None:
        for event in events:
            self.events.setdefault(event.event_id, event)


class _Unit:
    """Works on copies; what it saved is taken over when it has ended well."""

    def __init__(self, whole: RiskBook, verdicts: dict[str, Verdict], state: TradingState) -> None:
        self.trading_state = state
        self.saved: tuple[RiskBook, Sequence[Verdict], Sequence[Event]] | None = None
        self._whole = whole
        self._verdicts = verdicts

    async def book(self, keys: Collection[PositionKey], signal_ids: Collection[str]) -> RiskBook:
        """See DecisionUnit."""
        return RiskBook(
            [self._whole.positions[key] for key in keys if key in self._whole.positions],
            [self._whole.orders[one] for one in signal_ids if one in self._whole.orders],
            self._whole.judged.intersection(signal_ids),
        )

    async def verdict(self, signal_id: str) -> Verdict | None:
        """See DecisionUnit."""
        return self._verdicts.get(signal_id)

    async def save(self, book: RiskBook, verdicts: Sequence[Verdict], events: Sequence[Event]) -> None:
        """See DecisionUnit."""
        self.saved = (book, verdicts, events)
