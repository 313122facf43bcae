"""How many statements PostgreSQL is sent from a signal to its fill event, counted at the driver (scorecard P14)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import time, timedelta
from typing import Any

import asyncpg
import pytest
from asyncpg.prepared_stmt import PreparedStatement
from tests.statements import CountedRelay, Quiet, quiet
from trading_room import ACTIVE, CALENDAR, INSTRUMENTS, NOON, Room, wall_clock

from alphapanda.consuming.delivery import Delivery
from alphapanda.contract.topics import TopicMap
from alphapanda.contract.wire import signal_event
from alphapanda.domain.ids import derived_id
from alphapanda.domain.order import Product
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.eventlog.port import Record, StoredRecord
from alphapanda.resilience.backoff import Backoff
from alphapanda.risk.consumer import RawSignalHandler
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.decision_inputs import DecisionInputs
from alphapanda.risk.decision_service import DecisionService
from alphapanda.risk.store.postgres import PostgresRiskStore
from alphapanda.risk.strategy_statuses import StrategyStatuses
from alphapanda.storage.engine import open_engine
from alphapanda.storage.outbox import Outbox
from panda.events.v1 import control_pb2
from panda.events.v1.events_pb2 import Event

Opened = Callable[..., AbstractAsyncContextManager[Room]]
FROM_SIGNAL_TO_FILL = 18
OF_TRADING = 6
"""Orders under the kill switches as last read, the exchange, the answer, two of the relay, and one more where that is woken
twice."""


@dataclass
class Published:
    """Stands for the log: what a relay publishes comes here."""

    events: list[Event] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, records: Sequence[Record]) -> None:
        self.events += [Event.FromString(record.value) for record in records]
        self.heard.set()

    async def until(self, payload: str, count: int) -> list[Event]:
        """That many events of a payload, once they are there; they are taken."""
        async with asyncio.timeout(60):
            while len(found := [e for e in self.events if e.WhichOneof("payload") == payload]) < count:
                self.heard.clear()
                await self.heard.wait()
        self.events.clear()
        return found


@dataclass
class Way:
    """From a signal to its fill event: risk and its relay, trading, the exchange and its relay."""

    room: Room
    signals: RawSignalHandler
    risk_log: Published
    trading_log: Published
    relays: Sequence[CountedRelay]
    quiet: Quiet
    made: int = 0

    async def take(self, tokens: Sequence[int], target: int) -> None:
        """One batch of signals, from the log to their fills' events."""
        raw = [self._signal(token, target) for token in tokens]
        await self.signals.handle([_delivery(signal_event(one, "strategy", wall_clock())) for one in raw])
        verdicts = await self.risk_log.until("signal_validated", len(tokens))
        await self.room.consumer.handle([_delivery(event) for event in verdicts])
        await self.trading_log.until("order_filled", len(tokens))
        await self.quiet.after(*self.relays)

    def _signal(self, token: int, target: int) -> Signal:
        self.made += 1
        frame = derived_id("frame", self.made)
        return Signal(
            derived_id("signal", self.made),
            frame,
            frame,
            PositionKey("paper", "default", "ema-1", f"NSE:S{token}", Product.MIS),
            token,
            1,
            target,
            None,
            None,
            AT_MARKET,
            NOON,
            NOON + timedelta(seconds=60),
        )


def _delivery(event: Event) -> Delivery:
    return Delivery(event, event.broker, StoredRecord("t", 0, 0, b"", b"", (), 0))


@asynccontextmanager
async def open_way(opened: Opened, database: str) -> AsyncIterator[Way]:
    """Everything on one database, relays of both schemas running."""
    engine = open_engine(database, 5)
    topics = TopicMap(ACTIVE, ("zerodha",))
    outboxes = Outbox("risk", topics), Outbox("trading", topics)
    statuses = StrategyStatuses(10.0, lambda: 0.0)
    running = control_pb2.StrategyChanged(
        strategy_id="ema-1", revision=1, state=control_pb2.STRATEGY_STATE_RUNNING
    )
    await statuses.apply(Event(strategy_changed=running))
    logs = Published(), Published()
    async with opened() as room, quiet(database) as waits:
        await room.open_for_trading()
        store = PostgresRiskStore(engine, outboxes[0])
        await store.prepare(ACTIVE)
        inputs = DecisionInputs(
            room.prices,
            lambda: INSTRUMENTS,
            CALENDAR,
            Limits(
                timedelta(seconds=30),
                time(15, 0),
                {"max_order_quantity": 5_000, "max_position_quantity": 5_000},
            ),
            statuses,
        )
        decisions = DecisionService(store, inputs, wall_clock)
        relays = [
            CountedRelay(
                engine=engine,
                outbox=outbox,
                log=log,  # type: ignore[arg-type]
                batch_size=500,
                backoff=Backoff(0.1, 1.0),
                poll_seconds=3600,
                silence_seconds=3600,
            )
            for outbox, log in zip(outboxes, logs, strict=True)
        ]
        for relay in relays:
            await relay.start()
        try:
            yield Way(room, RawSignalHandler(decisions), *logs, relays, waits)
        finally:
            for relay in relays:
                await relay.stop()
            await engine.dispose()


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every statement that a driver sends meanwhile, BEGIN and COMMIT among them."""
    sent: list[str] = []
    fetch, execute = PreparedStatement.fetch, asyncpg.Connection.execute
    many = asyncpg.Connection.executemany

    async def counting_fetch(self: Any, *args: Any, **named: Any) -> Any:
        sent.append(self.get_query())
        return await fetch(self, *args, **named)

    async def counting_execute(self: Any, query: str, *args: Any, **named: Any) -> Any:
        sent.append(query)
        return await execute(self, query, *args, **named)

    async def counting_many(self: Any, query: str, *args: Any, **named: Any) -> Any:
        sent.append(query)
        return await many(self, query, *args, **named)

    with monkeypatch.context() as patched:
        patched.setattr(PreparedStatement, "fetch", counting_fetch)
        patched.setattr(asyncpg.Connection, "execute", counting_execute)
        patched.setattr(asyncpg.Connection, "executemany", counting_many)
        yield sent


def _told(sent: Sequence[str]) -> str:
    return "\n".join(f"{number:3} {' '.join(query.split())[:150]}" for number, query in enumerate(sent, 1))


def _of_trading(sent: Sequence[str]) -> int:
    """Statements of trading, its exchange and its relay, without what begins and ends their transactions."""
    return sum(" trading." in query or "paper_exchange." in query for query in sent)


async def test_an_order_is_few_statements(
    opened: Opened, tables: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a signal to its fill event PostgreSQL is sent 18 statements at most, once caches and plans are there."""
    async with open_way(opened, tables) as way:
        await way.take([1], 10)
        await way.quiet.before(*way.relays)
        with counted(monkeypatch) as sent:
            await way.take([2], 10)
    assert len(sent) <= FROM_SIGNAL_TO_FILL, _told(sent)
    assert 0 < _of_trading(sent) <= OF_TRADING, _told(sent)


async def test_a_batch_is_hardly_more_than_an_order(
    opened: Opened, tables: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty orders in one batch share their transactions: each costs a few statements of its own, not eighteen."""
    async with open_way(opened, tables) as way:
        await way.take([40], 10)
        await way.quiet.before(*way.relays)
        with counted(monkeypatch) as sent:
            await way.take(range(1, 21), 10)
    calls = sum("INSERT INTO paper_exchange.orders" in query for query in sent)
    assert calls == 20
    assert len(sent) - calls <= 3 * 20, _told(sent)
