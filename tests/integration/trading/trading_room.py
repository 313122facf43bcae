"""The trading room on a real PostgreSQL and Redis, as the tests and the process they kill build it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec.structs import replace
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.consuming.delivery import Delivery
from alphapanda.consuming.known_strategies import KnownStrategies
from alphapanda.contract.topics import TopicMap
from alphapanda.contract.wire import verdict_event
from alphapanda.domain import ids
from alphapanda.domain.calendar import TradingCalendar, load_nse_calendar
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side, TradingState
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import Approved, Refused
from alphapanda.eventlog.port import StoredRecord
from alphapanda.mesh.watches import Revisions
from alphapanda.paper_exchange.core.fill_models import AS_ALWAYS, FillModels
from alphapanda.paper_exchange.core.paper_charges import PercentCharges
from alphapanda.paper_exchange.core.paper_market import PaperMarket
from alphapanda.paper_exchange.exchange import PaperExchange
from alphapanda.storage.engine import open_engine
from alphapanda.storage.kill_switch_mirror import KillSwitchMirror
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.price_cache import BudgetedViews, PriceCache
from alphapanda.trading.api import TradingApi
from alphapanda.trading.change_commands import ChangeCommands
from alphapanda.trading.consumer import TradingConsumer
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.execution_context import ExecutionContext, no_step
from alphapanda.trading.executor import OrderExecutor
from alphapanda.trading.hints import OrderHints
from alphapanda.trading.manual import ManualOrders, verdict_event_id
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.order_changes import OrderChanges
from alphapanda.trading.protection_commands import ProtectionCommands
from alphapanda.trading.protections import Protections
from alphapanda.trading.routing import BrokerRoutings
from alphapanda.trading.square_off import SquareOffs
from alphapanda.trading.store.broker_routing import RoutingSwitches
from alphapanda.trading.store.port import Account
from alphapanda.trading.store.postgres import SCHEMA, PostgresTradingStore
from alphapanda.trading.traders import brokers, paper
from alphapanda.trading.traders.isolation import IsolatedTraders
from alphapanda.trading.traders.registry import BrokerRegistry, TraderParts
from alphapanda.trading.traders.trader import Trader
from alphapanda.trading.watching import OrderWatches
from panda.events.v1.events_pb2 import Event

NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
TOKENS = range(1, 41)
CALENDAR: TradingCalendar = load_nse_calendar()
INSTRUMENTS = InstrumentDirectory(
    Instrument(
        f"NSE:S{token}", token, "NSE", f"S{token}", f"Share {token}", "NSE", "EQ", Decimal("0.05"), 1, 100,
        CALENDAR.segments[0],
    )
    for token in TOKENS
)  # fmt: skip
VISIBILITY_WINDOW = 0.3
SETTINGS = TradingOptions(send_window_seconds=1, call_timeout_seconds=1, batch_wait_seconds=60)
PATIENT = TradingOptions(send_window_seconds=1, call_timeout_seconds=60, batch_wait_seconds=60)
"""Where no broker is silent: a busy machine makes no answer unclear."""
ACTIVE = ("paper", "papertwo", "zerodha")
ENABLED = ("paper", "papertwo")
REGISTRY = BrokerRegistry((*brokers.BROKERS, paper.registration("papertwo")))


def wall_clock() -> datetime:
    return datetime.now(tz=UTC)


def boot_clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def approved(number: int = 0, token: int = 1, **changes: object) -> Approved:
    """A verdict on signal `number`; the same numbers make the same verdict."""
    verdict = Approved(
        signal_id=ids.derived_id("test signal", number),
        correlation_id=ids.derived_id("test frame"),
        key=PositionKey("paper", "default", "crossing", f"NSE:S{token}", Product.MIS),
        instrument_token=token,
        config_revision=1,
        side=Side.BUY,
        quantity=10,
        terms=AT_MARKET,
        effect=PositionEffect.OPENS,
        valid_until=NOON + timedelta(seconds=60),
        decided_at=NOON,
        rules=(),
    )
    return replace(verdict, **changes)  # type: ignore[arg-type]


def delivery(verdict: Approved | Refused) -> Delivery:
    event = verdict_event(
        verdict, verdict_event_id(verdict.signal_id), verdict.signal_id, "risk", wall_clock()
    )
    return Delivery(event, verdict.key.broker, StoredRecord("t", 0, 0, b"", b"", (), 0))


class NoRisk:
    """A risk service that can't be reached."""

    async def AuthorizeOrder(self, request: Any) -> Any:  # noqa: N802 - the contract's name
        await asyncio.Event().wait()


@dataclass(slots=True)
class Room:
    """The room and what lies behind it."""

    engine: AsyncEngine
    redis: Redis
    store: PostgresTradingStore
    prices: PriceCache
    mirror: KillSwitchMirror
    exchange: PaperExchange
    traders: IsolatedTraders
    executor: OrderExecutor
    manual: ManualOrders
    consumer: TradingConsumer
    api: TradingApi
    revisions: Revisions[Account]
    context: ExecutionContext
    changes: OrderChanges
    hints: OrderHints
    protections: Protections
    opted_in: set[str] = field(default_factory=set)

    async def market_is(self, at: datetime = NOON, rupees: int = 100) -> None:
        """Prices of all instruments and the market's time."""
        moment = nanoseconds(at)
        tokens = list(TOKENS)
        frame = Frame("run", 0, 1, moment, 100, tokens, [rupees * 100] * len(tokens), [moment] * len(tokens))
        await self.prices.write([frame])

    async def open_for_trading(self) -> None:
        await self.market_is()
        for broker in ACTIVE:
            await self.mirror.write(broker, TradingState.ACTIVE, 0)
        await self.executor.start()
        await self.changes.start()
        await self.hints.start()

    async def handle(self, *verdicts: Approved | Refused) -> None:
        await self.consumer.handle([delivery(verdict) for verdict in verdicts])

    async def order(self, verdict: Approved) -> Order:
        stored = await self.store.find(order_id_of(verdict.signal_id))
        assert stored is not None
        return stored.order

    async def ended(self, verdict: Approved, within: float = 60) -> Order:
        """The order once it has ended."""
        await self.executor.driver.wait_for_end(order_id_of(verdict.signal_id), within)
        order = await self.order(verdict)
        assert order.status.is_final, f"{order.status.name} after {within} s"
        return order

    async def rows(self, query: str) -> list[Any]:
        async with self.engine.connect() as connection:
            return list((await connection.execute(text(query))).all())

    async def calls(self) -> dict[tuple[str, str], int]:
        """How often each tag was placed at each broker, from the exchange's own journal."""
        rows = await self.rows(
            "SELECT broker, tag, count(*) FROM paper_exchange.calls WHERE what = 'place' GROUP BY broker, tag"
        )
        return {(broker, tag): count for broker, tag, count in rows}

    async def events(self, verdict: Approved) -> list[Event]:
        """The events stored for an order, in the order in which they are to be published."""
        found = [
            Event.FromString(row.value)
            for row in await self.rows("SELECT * FROM trading.outbox ORDER BY seq")
        ]
        order_id = order_id_of(verdict.signal_id)
        return [event for event in found if _payload(event).order.order_id == order_id]


def _payload(event: Event) -> Any:
    return getattr(event, event.WhichOneof("payload") or "")


def terminal(events: list[Event]) -> list[Event]:
    """The events with a final status."""
    return [event for event in events if OrderStatus(_payload(event).order.status).is_final]


@asynccontextmanager
async def open_room(
    database: str,
    redis_url: str,
    at: Callable[[str], None] = no_step,
    boot: Callable[[], float] = boot_clock,
    trader: Callable[[PaperExchange], Any] | None = None,
    risk: Any = None,
    options: TradingOptions | None = None,
    start_seconds: float = 60.0,
    budget_seconds: float = 60.0,
    *,
    bars: bool = False,
    models: FillModels = AS_ALWAYS,
    zerodha: Trader | None = None,
    third: Trader | None = None,
    instruments: InstrumentDirectory = INSTRUMENTS,
) -> AsyncIterator[Room]:
    """The room; `trader` takes the place of paper's, and then calls end soon without an answer; `zerodha` enables that broker, `third` one more."""
    engine, own_engine = open_engine(database, 10), open_engine(database, 10)
    redis = Redis.from_url(redis_url)
    prices = PriceCache(redis, 10, wall_clock, bars=bars, firsts=models.circuit is not None)
    decided_with = BudgetedViews(prices, budget_seconds)
    mirror = KillSwitchMirror(redis)
    exchange = PaperExchange(
        own_engine,
        PaperMarket(Decimal("0.05"), PercentCharges(Decimal("0.1")), seed=7, models=models),
        prices,
        CALENDAR,
        lambda: instruments,
    )
    active = ACTIVE if third is None else (*ACTIVE, third.broker)
    store = PostgresTradingStore(engine, Outbox(SCHEMA, TopicMap(active, ("zerodha",))), wall_clock)
    options = options or (SETTINGS if trader else PATIENT)
    raw = dict(REGISTRY.traders(ACTIVE, ENABLED, TraderParts(exchange, VISIBILITY_WINDOW)))
    if trader is not None:
        raw["paper"] = trader(exchange)
    enabled = ENABLED
    if zerodha is not None:
        raw["zerodha"], enabled = zerodha, ACTIVE
    if third is not None:
        raw[third.broker], enabled = third, (*enabled, third.broker)
    isolated = IsolatedTraders(raw, options.call_timeout_seconds, start_seconds=start_seconds)
    traders = isolated.by_broker
    await isolated.start()
    router = ExecutionRouter(enabled)
    opted_in: set[str] = {"papertwo", *([third.broker] if third is not None else ())}
    routings = BrokerRoutings(RoutingSwitches(engine), router, ACTIVE, wall_clock)
    await routings.start()
    context = ExecutionContext(store, traders, decided_with, lambda: instruments, boot, wall_clock)
    executor = OrderExecutor(
        context,
        PreSubmitChecks(router, lambda _: opted_in, CALENDAR, timedelta(seconds=30)),
        options,
        at,
        look_up_interval=0.05,
    )
    changes = OrderChanges(context, executor.driver, options, interval=0.05, at=at)
    protections = Protections(context, executor.driver, changes, CALENDAR, interval_seconds=60.0)
    executor.driver.protections = protections
    manual = ManualOrders(store, executor, risk or NoRisk(), (options or PATIENT).manual_orders_under_way)
    revisions = Revisions(store.account_revisions, 0.02)
    await revisions.start()
    api = TradingApi(
        store,
        executor,
        manual,
        ChangeCommands(store, changes, prices, CALENDAR, lambda: instruments, wall_clock),
        ProtectionCommands(store, protections, lambda: instruments),
        SquareOffs(store, enabled, prices, CALENDAR, lambda: instruments, wall_clock),
        OrderWatches(store, revisions, lambda: instruments),
        traders,
        router,
        prices,
        CALENDAR,
        lambda: instruments,
        KnownStrategies(grace_seconds=0.0),
        "default",
        wall_clock,
        routings,
    )
    room = Room(
        engine,
        redis,
        store,
        prices,
        mirror,
        exchange,
        isolated,
        executor,
        manual,
        TradingConsumer(executor, manual),
        api,
        revisions,
        context,
        changes,
        OrderHints(store, executor.driver, traders.values(), at),
        protections,
        opted_in,
    )
    try:
        yield room
    finally:
        await routings.stop()
        await revisions.stop()
        await room.hints.stop()
        await changes.stop()
        await manual.stop()
        await executor.stop()
        await isolated.stop()
        await redis.aclose()
        await engine.dispose()
        await own_engine.dispose()
