"""Both stores, a desk on them, and events as they come off the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import Mock
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.message import Message
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.in_memory.risk_store import MemoryRiskStore

from alphapanda.consuming.delivery import Delivery
from alphapanda.consuming.known_strategies import KnownStrategies
from alphapanda.contract.order_wire import order_event
from alphapanda.contract.topics import TopicMap
from alphapanda.contract.validation import violations
from alphapanda.contract.wire import approved_from, signal_event
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.funds import FundsTerms, no_charges
from alphapanda.domain.ids import derived_id, output_id
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.margin import load_margin_model
from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.order import FailureReason, OrderStatus, Product
from alphapanda.domain.order_events import Cancelled, Failed, Fill, Filled, OrderState, Submitted
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import Approved
from alphapanda.eventlog.port import StoredRecord
from alphapanda.risk.api import RiskApi
from alphapanda.risk.consumer import OrderEventHandler, RawSignalHandler
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.decision_inputs import DecisionInputs
from alphapanda.risk.decision_service import DecisionService
from alphapanda.risk.kill_switches import KillSwitches
from alphapanda.risk.limit_service import LimitService
from alphapanda.risk.live_accounts import LiveAccounts
from alphapanda.risk.measuring import DecisionFigures
from alphapanda.risk.names import Names
from alphapanda.risk.reconciliation import BrokerReconciliation
from alphapanda.risk.store.port import RiskStore
from alphapanda.risk.store.postgres import PostgresRiskStore
from alphapanda.risk.store.statements import SCHEMA
from alphapanda.risk.strategy_statuses import StrategyStatuses
from alphapanda.storage.engine import open_engine
from alphapanda.storage.kill_switch_mirror import KillSwitchMirror
from alphapanda.storage.outbox import Outbox
from panda.events.v1 import control_pb2
from panda.events.v1.events_pb2 import Event

IST = ZoneInfo("Asia/Kolkata")
BROKERS = ("paper", "zerodha")
INFY = Instrument(
    "NSE:INFY", 408065, "NSE", "INFY", "INFOSYS", "NSE", "EQ", Decimal("0.05"), 1, 1000, "NSE_EQ"
)
KEY = PositionKey("paper", "default", "ema-1", INFY.instrument_id, Product.MIS)


CASH = {"paper": Decimal(10_000_000)}
"""Starting cash by simulated broker."""


@dataclass
class Market:
    """What the price cache would say; `away` stands for a Redis that can't be reached."""

    now: datetime | None = datetime(2026, 3, 4, 10, 0, tzinfo=IST)
    away: bool = False
    price: Decimal = Decimal(1500)

    async def view(self, tokens: Sequence[int]) -> MarketView:
        if self.away:
            raise ConnectionError("the cache is away")
        if self.now is None:
            return MarketView(None, "", {})
        price = LastPrice(self.price, self.now.astimezone(UTC))
        return MarketView(self.now.astimezone(UTC), "run", dict.fromkeys(tokens, price))


@dataclass
class Risk:
    """The room on one store."""

    store: RiskStore
    engine: AsyncEngine | None
    market: Market = field(default_factory=Market)
    monotonic: float = 0.0
    made: int = 0

    def __post_init__(self) -> None:
        self.instruments = InstrumentDirectory([INFY])
        self.strategy_statuses = StrategyStatuses(10.0, lambda: self.monotonic)
        self.strategies = KnownStrategies(grace_seconds=0.0)
        self.log_error: Exception | None = None
        self.strategies.follow(self.settled)
        inputs = DecisionInputs(
            self.market,
            lambda: self.instruments,
            load_nse_calendar(),
            Limits(
                timedelta(seconds=30),
                time(15, 0),
                {"max_order_quantity": 5_000, "max_position_quantity": 5_000},
            ),
            self.strategy_statuses,
            funds={"paper": FundsTerms(load_margin_model(), Decimal(0), no_charges)},
        )
        self.figures = Mock()
        measured = DecisionFigures(self.figures)
        self.decisions = DecisionService(self.store, inputs, lambda: datetime.now(tz=UTC), measured)
        self.signals = RawSignalHandler(self.decisions, measured)
        self.orders = OrderEventHandler(self.decisions)

    def signal(self, target: int, key: PositionKey = KEY, revision: int = 1) -> Signal:
        """A strategy's target."""
        self.made += 1
        frame = derived_id("frame", self.made)
        now = self.market.now or datetime(2026, 3, 4, 10, 0, tzinfo=IST)
        return Signal(
            derived_id("signal", self.made),
            frame,
            frame,
            key,
            INFY.instrument_token,
            revision,
            target,
            None,
            None,
            AT_MARKET,
            now,
            now.replace(hour=15, minute=30),
        )

    async def raw(self, *signals: Signal) -> None:
        """Signals come off the log in one batch."""
        events = [signal_event(signal, "strategy", datetime.now(tz=UTC)) for signal in signals]
        await self.signals.handle([delivery(event) for event in events])

    async def told(
        self, order: Approved, filled: int, status: OrderStatus, revision: int, *, late: bool = False
    ) -> None:
        """An order event comes off the log; a late one is a fill after the order's end."""
        await self.orders.handle([self.order_delivery(order, filled, status, revision, late=late)])

    def order_delivery(
        self, order: Approved, filled: int, status: OrderStatus, revision: int, *, late: bool = False
    ) -> Delivery:
        """An order event of an approved signal."""
        now = self.market.now.astimezone(UTC) if self.market.now else None
        state = OrderState(
            derived_id("order", order.signal_id),
            order.signal_id,
            order.key,
            order.instrument_token,
            order.side,
            order.quantity,
            order.terms,
            order.effect,
            status,
            revision,
            filled,
            0 if status.is_final else order.quantity - filled,
            self.market.price if filled else None,
            now,
        )
        update: Any = {
            OrderStatus.OPEN: Submitted(state),
            OrderStatus.CANCELLED: Cancelled(state, "cancelled"),
            OrderStatus.FAILED: Failed(state, FailureReason.ABSENT, "absent"),
            OrderStatus.REJECTED: Failed(state, FailureReason.BROKER_REJECTED, "rejected"),
        }.get(status if not late else OrderStatus.FILLED) or Filled(
            state,
            Fill(
                derived_id("fill", order.signal_id, revision),
                "T",
                1,
                self.market.price,
                Decimal(0),
                state.market_time or datetime.now(tz=UTC),
            ),
        )
        return delivery(
            order_event(
                update,
                event_id=output_id("trading", order.signal_id, "event", revision),
                correlation_id=order.correlation_id,
                causation_id=order.signal_id,
                source="trading",
                occurred_at=datetime.now(tz=UTC),
            )
        )

    async def strategy(self, revision: int, *, running: bool = True, strategy_id: str = "ema-1") -> None:
        """The control topic tells of a strategy."""
        changed = control_pb2.StrategyChanged(
            strategy_id=strategy_id,
            revision=revision,
            state=control_pb2.STRATEGY_STATE_RUNNING if running else control_pb2.STRATEGY_STATE_STOPPED,
        )
        await self.strategy_statuses.apply(Event(strategy_changed=changed))
        await self.strategies.apply(Event(strategy_changed=changed))

    async def settled(self) -> bool:
        """Whether everything on the control topic was applied."""
        if self.log_error is not None:
            raise self.log_error
        return True

    async def published(self) -> list[Event]:
        """What the outbox holds, in order; all of it keeps the contract's rules."""
        events = await self._outbox()
        assert [violations(event) for event in events] == [[]] * len(events)
        return events

    async def _outbox(self) -> list[Event]:
        if self.engine is None:
            return list(self.store.events.values())  # type: ignore[attr-defined]
        async with self.engine.connect() as connection:
            found = await connection.execute(text("SELECT value FROM risk.outbox ORDER BY seq"))
            return [Event.FromString(row.value) for row in found]

    async def validated(self) -> list[Approved]:
        """The orders let through, in order."""
        return [approved_from(e) for e in await self.published() if e.HasField("signal_validated")]

    async def rejected(self) -> list[tuple[str, str]]:
        """(signal id, reason) of the refusals, in order."""
        refused = [e.signal_rejected for e in await self.published() if e.HasField("signal_rejected")]
        return [(one.signal_id, one.reason) for one in refused]

    async def position(self, key: PositionKey = KEY) -> int:
        """Units held under a key."""
        async with self.store.unit(key.broker, key.account) as unit:
            return (await unit.book([key], ())).position(key).quantity


def delivery(event: Event) -> Delivery:
    """An event off the log."""
    return Delivery(event, event.broker, StoredRecord("t", 0, 0, b"", b"", (), 0))


async def _on_postgres(url: str) -> AsyncIterator[Risk]:
    engine = open_engine(url, 5)
    risk = Risk(PostgresRiskStore(engine, Outbox(SCHEMA, TopicMap(BROKERS)), CASH), engine)
    await risk.store.prepare(BROKERS)
    await risk.strategy(1)
    yield risk
    await engine.dispose()


@pytest.fixture
async def postgres_risk(tables: str) -> AsyncIterator[Risk]:
    """The room on PostgreSQL, strategy ema-1 running at revision 1."""
    async for risk in _on_postgres(tables):
        yield risk


@pytest.fixture(params=["postgres", "memory"])
def tables_or_none(request: pytest.FixtureRequest) -> str | None:
    """The URL of a database with empty tables, or None for the store in memory."""
    return request.getfixturevalue("tables") if request.param == "postgres" else None


@pytest.fixture
async def risk(tables_or_none: str | None) -> AsyncIterator[Risk]:
    """The room on each store, strategy ema-1 running at revision 1."""
    if tables_or_none is not None:
        async for risk in _on_postgres(tables_or_none):
            yield risk
        return
    risk = Risk(MemoryRiskStore(CASH), None)
    await risk.store.prepare(BROKERS)
    await risk.strategy(1)
    yield risk


@pytest.fixture
async def mirror(redis_url: str) -> AsyncIterator[KillSwitchMirror]:
    """The mirror on an empty Redis."""
    async with Redis.from_url(redis_url) as redis:
        yield KillSwitchMirror(redis)


class FakeTrading:
    """Stands for TradingService: holds the newest revision, or fails with `error`."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[int, int]] = {}
        self.strategies: dict[tuple[str, str], tuple[int, int]] = {}
        self.orders: set[str] = set()
        self.asked: list[str] = []
        self.calls = 0
        self.error: Exception | None = None

    async def ApplyKillSwitch(self, request: Any, /, *, timeout: float | None = None) -> Message:  # noqa: N802
        from panda.trading.v1 import trading_pb2

        self.calls += 1
        if self.error is not None:
            raise self.error
        held: Any = self.strategies if request.strategy_id else self.held
        whose = (request.broker, request.strategy_id) if request.strategy_id else request.broker
        revision, _ = held.get(whose, (0, 0))
        if request.revision > revision or (request.replaces and request.replaces == revision):
            held[whose] = (request.revision, request.state)
        revision, state = held[whose]
        return trading_pb2.ApplyKillSwitchResponse(revision=revision, state=state)

    async def GetKillSwitchCopies(self, request: Any, /, *, timeout: float | None = None) -> Message:  # noqa: N802
        from panda.trading.v1 import trading_pb2

        if self.error is not None:
            raise self.error
        held = {"": self.held[request.broker]} if request.broker in self.held else {}
        held |= {name: copy for (broker, name), copy in self.strategies.items() if broker == request.broker}
        return trading_pb2.GetKillSwitchCopiesResponse(
            copies=[
                trading_pb2.KillSwitchCopy(strategy_id=name, state=state, revision=revision)
                for name, (revision, state) in held.items()
            ]
        )

    async def ConfirmNoOrder(self, request: Any, /, *, timeout: float | None = None) -> Message:  # noqa: N802
        from panda.trading.v1 import trading_pb2

        if self.error is not None:
            raise self.error
        self.asked.append(request.signal_id)
        return trading_pb2.ConfirmNoOrderResponse(never=request.signal_id not in self.orders)


@pytest.fixture
def trading() -> FakeTrading:
    """A trading that answers."""
    return FakeTrading()


def servicer(risk: Risk, mirror: KillSwitchMirror, trading: FakeTrading) -> RiskApi:
    """The servicer on a room."""

    def wall_time() -> datetime:
        return datetime.now(tz=UTC)

    kill_switches = KillSwitches(risk.store, mirror, trading, BROKERS, wall_time)
    return RiskApi(
        risk.decisions,
        risk.store,
        kill_switches,
        LimitService(risk.store, wall_time, ["zerodha"]),
        lambda: risk.instruments,
        Names(risk.store, risk.strategies, lambda: risk.instruments, BROKERS, "default"),
        BrokerReconciliation(risk.store, kill_switches, UNASKED, UNASKED, ()),
        LiveAccounts(risk.store, risk.decisions.inputs, {"zerodha": ["main"]}, lambda _: True, wall_time),
    )


UNASKED: Any = None
"""Trading and portfolio, for servicers that reconcile no broker."""


@pytest.fixture
def api(risk: Risk, mirror: KillSwitchMirror, trading: FakeTrading) -> RiskApi:
    """The servicer on each store."""
    return servicer(risk, mirror, trading)
