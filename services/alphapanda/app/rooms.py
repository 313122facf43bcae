"""Builds each service's room on the ground that a process stands on."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

import structlog

from alphapanda.app.ground import IST, Ground, boot_clock, wall_clock
from alphapanda.app.groups import GROUPS
from alphapanda.app.process import Phase, Room
from alphapanda.app.questions import snapshots as snapshot_age
from alphapanda.eventlog.consumer import ReliableConsumer
from alphapanda.eventlog.control import TopicFollower
from alphapanda.eventlog.delivery import Handler
from alphapanda.eventlog.handling import Discard
from alphapanda.eventlog.port import Assignment, GroupReader, Start
from alphapanda.eventlog.relay import OutboxRelay
from alphapanda.eventlog.wire import frame_from
from alphapanda.instruments.api import InstrumentServicer
from alphapanda.instruments.store import PostgresInstrumentStore
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.watches import Revisions
from alphapanda.ops.core import BrokerReport
from alphapanda.portfolio import consumer as portfolio_topics
from alphapanda.portfolio.api import PortfolioApi
from alphapanda.portfolio.cache import BooksCache
from alphapanda.portfolio.consumer import PortfolioConsumer
from alphapanda.portfolio.managers import ManagerParts, build_managers
from alphapanda.portfolio.messages import PortfolioMessages
from alphapanda.portfolio.reader import PortfolioReader
from alphapanda.portfolio.reconciliation import Reconciliation
from alphapanda.portfolio.router import PortfolioRouter
from alphapanda.portfolio.snapshots import Snapshots
from alphapanda.portfolio.store.port import Cause
from alphapanda.portfolio.store.postgres import PostgresPortfolioStore
from alphapanda.portfolio.watching import PortfolioWatches
from alphapanda.risk import consumer as risk_topics
from alphapanda.risk import standings as risk_standings
from alphapanda.risk.api import RiskApi
from alphapanda.risk.consumer import OrderEventHandler, RawSignalHandler
from alphapanda.risk.desk import RiskDesk
from alphapanda.risk.kill_switches import KillSwitches
from alphapanda.risk.limit_desk import LimitDesk
from alphapanda.risk.limits import limits_of
from alphapanda.risk.reservations import ReservationKeeper
from alphapanda.risk.square_off_timer import SquareOffTimer
from alphapanda.risk.standings import Standings
from alphapanda.risk.store.postgres import PostgresRiskStore
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.parking import PostgresParking
from alphapanda.strategy import consumer as strategy_topics
from alphapanda.strategy.api import StrategyServicer
from alphapanda.strategy.consumer import StrategyAssignment, StrategyTicks
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.folder import registry_with
from alphapanda.strategy.store.postgres import PostgresStrategyStore
from alphapanda.strategy.yaml_file import StrategyFallback, read_strategies
from alphapanda.telemetry.performance import TimedHandler
from alphapanda.trading import consumer as trading_topics
from alphapanda.trading import opt_ins as trading_opt_ins
from alphapanda.trading.api import TradingApi
from alphapanda.trading.consumer import TradingAssignment, TradingConsumer
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.core.paper_market import PaperMarket
from alphapanda.trading.executor import OrderExecutor
from alphapanda.trading.late_arrivals import LateArrivals
from alphapanda.trading.manual import ManualOrders
from alphapanda.trading.opt_ins import OptIns
from alphapanda.trading.paper_exchange import PaperExchange
from alphapanda.trading.ports import Step
from alphapanda.trading.square_off import SquareOffs
from alphapanda.trading.store.postgres import PostgresTradingStore
from alphapanda.trading.surroundings import Surroundings, nobody_counts
from alphapanda.trading.traders.registry import TraderParts
from alphapanda.trading.traders.trader import Trader
from alphapanda.trading.watching import OrderWatches
from panda.events.v1.events_pb2 import Event
from panda.instruments.v1.instruments_pb2_grpc import add_InstrumentServiceServicer_to_server
from panda.portfolio.v1.portfolio_pb2_grpc import add_PortfolioServiceServicer_to_server
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub, add_RiskServiceServicer_to_server
from panda.strategy.v1.strategy_pb2_grpc import add_StrategyServiceServicer_to_server
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub, add_TradingServiceServicer_to_server

STANDING_PATIENCE_SECONDS = 10.0
"""How long risk waits for a strategy revision that the control topic hasn't told of."""

PARKS = frozenset({"risk", "trading", "portfolio"})
"""Services whose schema has room for parked keys: those that read money topics."""

RISK_SERVICE = "panda.risk.v1.RiskService"
TRADING_SERVICE = "panda.trading.v1.TradingService"


def consumer(
    ground: Ground,
    service: str,
    group: str,
    handler: Handler,
    *,
    start: Start = Start.EARLIEST,
    reader: GroupReader | None = None,
    assignment: Assignment | None = None,
    discard: Discard | None = None,
) -> ReliableConsumer:
    """A reliable consumer of the payloads' topics of every active broker."""
    topics = ground.topic_map.topics(*GROUPS[group])
    return ReliableConsumer(
        name=group,
        service=service,
        log=ground.log,
        reader=reader or ground.log.group_reader(group, topics, start),
        topic_map=ground.topic_map,
        handler=TimedHandler(handler, group, ground.settings.monitoring.slow_handler_seconds),
        dead_letters=ground.dead_letters,
        policy=ground.settings.consumers.policy(group),
        parking=None if service not in PARKS else PostgresParking(ground.engine, service),
        discard=discard,
        assignment=assignment,
    )


def follower(
    ground: Ground,
    service: str,
    name: str,
    payload: str,
    on_event: Callable[[Event], Awaitable[None]],
    start: Start,
) -> TopicFollower:
    """A follower of a payload's topics."""
    return TopicFollower(
        name=name,
        service=service,
        log=ground.log,
        topic_map=ground.topic_map,
        payload=payload,
        on_event=on_event,
        start=start,
        policy=ground.settings.consumers.defaults,
    )


def relay(ground: Ground, outbox: Outbox) -> OutboxRelay:
    """The relay of a schema's outbox."""
    return OutboxRelay(
        engine=ground.engine, outbox=outbox, log=ground.log, policy=ground.settings.consumers.defaults
    )


def instruments_room(ground: Ground) -> Room:
    """The registry."""
    servicer = InstrumentServicer(PostgresInstrumentStore(ground.engine))
    return Room(
        service="instruments",
        full_name="panda.instruments.v1.InstrumentService",
        registration=lambda server: add_InstrumentServiceServicer_to_server(servicer, server),
        counters=lambda: {"instruments": len(ground.directory)},
    )


def strategy_room(ground: Ground) -> tuple[Room, StrategyTicks]:
    """Strategies, and the handler that knows which of them it has taken up."""
    outbox = Outbox("strategy", ground.topic_map)
    store = PostgresStrategyStore(ground.engine, outbox)
    log = structlog.get_logger("alphapanda.strategy")
    registry = registry_with(
        ground.settings.strategy.folder, lambda bad: log.error("strategy file not loaded", error=bad.text)
    )
    ticks = StrategyTicks(
        store=store,
        log=ground.log,
        topic_map=ground.topic_map,
        new_host=lambda: StrategyHost(
            ground.directory,
            ground.calendar,
            ground.router,
            registry,
            ground.settings.strategy.max_errors_in_a_row,
            ground.settings.strategy.max_signals_per_minute,
        ),
        snapshot_interval_seconds=ground.settings.strategy.snapshot_interval_seconds,
        wall_clock=wall_clock,
        elapsed=time.monotonic,
        logger=log,
    )
    reader = ground.log.group_reader(strategy_topics.GROUP, ticks.topics, Start.LATEST)
    servicer = StrategyServicer(
        store=store,
        registry=registry,
        directory=ground.directory,
        active_brokers=ground.settings.active_brokers,
        account=ground.settings.account,
        signal_ttl_seconds=ground.settings.strategy.signal_ttl_seconds,
        wall_clock=wall_clock,
    )
    yaml = ground.settings.strategy.yaml
    fallback = StrategyFallback(read_strategies(yaml) if yaml else (), store, servicer, log)

    def counters() -> Mapping[str, int]:
        counts = ticks.counts()
        return {
            "frames": counts.frames,
            "ticks": counts.ticks,
            "signals": sum(counts.signals.values()),
            "errors": sum(counts.errors.values()),
        }

    room = Room(
        service="strategy",
        full_name="panda.strategy.v1.StrategyService",
        registration=lambda server: add_StrategyServiceServicer_to_server(servicer, server),
        consumers=[
            consumer(
                ground,
                "strategy",
                strategy_topics.GROUP,
                ticks,
                reader=reader,
                assignment=StrategyAssignment(ticks, reader),
            )
        ],
        followers=[
            follower(
                ground,
                "strategy",
                "strategy.changes",
                "strategy_changed",
                ticks.on_strategy_changed,
                Start.EARLIEST,
            )
        ],
        relay=relay(ground, outbox),
        parts=[(Phase.WAKE, fallback)],
        counters=counters,
    )
    return room, ticks


def risk_room(ground: Ground) -> tuple[Room, SquareOffTimer]:
    """Risk, and the timer that lockstep fires itself."""
    settings = ground.settings
    outbox = Outbox("risk", ground.topic_map)
    store = PostgresRiskStore(ground.engine, outbox)
    standings = Standings(STANDING_PATIENCE_SECONDS, time.monotonic)
    desk = RiskDesk(
        store=store,
        views=ground.prices,
        instruments=ground.instruments,
        calendar=ground.calendar,
        limits=limits_of(settings.risk, settings.paper_trading.square_off_time),
        standings=standings,
        wall_time=wall_clock,
    )
    trading = TradingServiceStub(open_channel(ground.target("trading"), [TRADING_SERVICE]))
    kill_switches = KillSwitches(store, ground.mirror, trading, settings.active_brokers, wall_clock)
    reservations = ReservationKeeper(desk, store, trading, settings.active_brokers)
    timer = SquareOffTimer(desk, store, ground.simulated_brokers, lambda view: view.frame_id)
    signals = RawSignalHandler(desk)
    servicer = RiskApi(
        desk,
        store,
        kill_switches,
        LimitDesk(store, wall_clock),
        ground.instruments,
        settings.active_brokers,
        settings.account,
    )
    room = Room(
        service="risk",
        full_name=RISK_SERVICE,
        registration=lambda server: add_RiskServiceServicer_to_server(servicer, server),
        consumers=[
            consumer(
                ground,
                "risk",
                f"{risk_topics.GROUP}.orders",
                OrderEventHandler(desk),
            ),
            consumer(
                ground,
                "risk",
                f"{risk_topics.GROUP}.signals",
                signals,
                discard=signals.discard,
            ),
        ],
        followers=[
            follower(
                ground, "risk", "risk.strategies", risk_standings.PAYLOAD, standings.learn, Start.EARLIEST
            )
        ],
        relay=relay(ground, outbox),
        parts=[(Phase.WAKE, kill_switches), (Phase.WAKE, reservations), (Phase.FEED, timer)],
    )
    return room, timer


def trading_room(ground: Ground, at: Step) -> tuple[Room, PostgresTradingStore]:
    """Trading, and the store that knows which orders are open. `at` is told of each step an order takes."""
    settings = ground.settings
    paper = settings.paper_trading
    outbox = Outbox("trading", ground.topic_map)
    store = PostgresTradingStore(ground.engine, outbox, wall_clock)
    exchange = PaperExchange(
        ground.paper_engine, PaperMarket(paper.slippage_percent, paper.commission_percent), ground.prices
    )
    traders = ground.brokers.traders(
        settings.active_brokers, ground.router.enabled, TraderParts(paper, exchange)
    )
    opt_ins = OptIns()
    checks = PreSubmitChecks(
        ground.router, opt_ins, ground.calendar, timedelta(seconds=settings.trading.price_max_age_seconds)
    )
    surroundings = Surroundings(
        store=store,
        traders=traders,
        market=ground.prices,
        mirror=ground.mirror,
        instruments=ground.instruments,
        boot_clock=boot_clock,
        wall_clock=wall_clock,
        order_sent=ground.metrics.order_sent if ground.metrics else nobody_counts,
    )
    executor = OrderExecutor(surroundings, checks, settings.trading, at)
    late_arrivals = LateArrivals(surroundings, settings.trading.call_timeout_seconds)
    manual = ManualOrders(
        store, executor, RiskServiceStub(open_channel(ground.target("risk"), [RISK_SERVICE]))
    )
    revisions = Revisions(store.account_revisions)
    verdicts = TradingConsumer(executor)
    servicer = TradingApi(
        store=store,
        executor=executor,
        manual=manual,
        square_offs=SquareOffs(
            store, ground.router.enabled, ground.prices, ground.calendar, ground.instruments, wall_clock
        ),
        watches=OrderWatches(store, revisions, ground.instruments),
        traders=traders,
        router=ground.router,
        market=ground.prices,
        calendar=ground.calendar,
        instruments=ground.instruments,
        account=settings.account,
        wall_clock=wall_clock,
    )
    room = Room(
        service="trading",
        full_name=TRADING_SERVICE,
        registration=lambda server: add_TradingServiceServicer_to_server(servicer, server),
        consumers=[
            consumer(
                ground,
                "trading",
                trading_topics.GROUP,
                verdicts,
                discard=verdicts.discard,
                assignment=TradingAssignment(executor),
            )
        ],
        followers=[
            follower(
                ground,
                "trading",
                "trading.strategies",
                trading_opt_ins.PAYLOAD,
                opt_ins.learn,
                Start.EARLIEST,
            )
        ],
        relay=relay(ground, outbox),
        parts=[
            (Phase.WAKE, executor),
            (Phase.WAKE, late_arrivals),
            (Phase.WAKE, manual),
            (Phase.WAKE, revisions),
        ],
        brokers=lambda: broker_reports(traders),
    )
    return room, store


def broker_reports(traders: Mapping[str, Trader]) -> Sequence[BrokerReport]:
    """How trading sees the brokers."""
    modes = {broker: trader.get_execution_mode().value for broker, trader in traders.items()}
    return [
        BrokerReport(
            broker,
            "off" if mode == "off" else "on",
            "active but not enabled: nothing is routed there" if mode == "off" else mode,
        )
        for broker, mode in modes.items()
    ]


def portfolio_room(ground: Ground) -> Room:
    """Portfolio."""
    settings = ground.settings
    outbox = Outbox("portfolio", ground.topic_map)
    store = PostgresPortfolioStore(ground.engine, outbox)
    parts = ManagerParts(
        settings.account, settings.paper_trading.starting_cash, store, ground.prices, ground.instruments
    )
    router = PortfolioRouter(build_managers(ground.router.enabled, parts, ground.simulated_brokers))
    snapshots = Snapshots(
        store,
        router,
        ground.prices,
        timedelta(seconds=settings.portfolio_manager.snapshot_interval_seconds),
        IST,
        wall_clock,
    )
    reconciliation = Reconciliation(router, settings.portfolio_manager.reconciliation_interval_seconds)
    revisions = Revisions(store.revisions)

    async def on_frame(event: Event) -> None:
        frame = frame_from(event.tick_frame)
        await snapshots.before(frame.market_time_ns, Cause(event.event_id, event.correlation_id))
        router.handle_frame(frame)

    messages = PortfolioMessages(ground.instruments)
    reader = PortfolioReader(
        store, BooksCache(store, ground.redis), router, messages, lambda: snapshots.trading_day
    )
    watches = PortfolioWatches(store, reader, messages, revisions)
    servicer = PortfolioApi(
        store, router, reader, watches, messages, settings.active_brokers, settings.account
    )
    return Room(
        service="portfolio",
        full_name="panda.portfolio.v1.PortfolioService",
        registration=lambda server: add_PortfolioServiceServicer_to_server(servicer, server),
        consumers=[
            consumer(
                ground,
                "portfolio",
                portfolio_topics.GROUP,
                PortfolioConsumer(router, store, [snapshots.booked, lambda _: revisions.look_now()]),
            )
        ],
        followers=[follower(ground, "portfolio", "portfolio.frames", "tick_frame", on_frame, Start.LATEST)],
        relay=relay(ground, outbox),
        parts=[
            (Phase.WAKE, router),
            (Phase.WAKE, snapshots),
            (Phase.WAKE, reconciliation),
            (Phase.WAKE, revisions),
        ],
        checks=[reconciliation],
        questions={"snapshots": snapshot_age(ground, lambda: snapshots.taken_to)},
    )
