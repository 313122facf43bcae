"""Builds the room of portfolio."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from alphapanda.app.broker_books import broker_readers
from alphapanda.app.clocks import IST, wall_clock
from alphapanda.app.funds import funds_terms_of
from alphapanda.app.probes import snapshots as snapshot_age
from alphapanda.app.process import Phase, Room
from alphapanda.app.resources import ProcessResources
from alphapanda.app.rooms.reading import consumer, follower, outbox, purging, relay
from alphapanda.consuming.known_strategies import PAYLOAD, KnownStrategies
from alphapanda.contract.wire import frame_from
from alphapanda.eventlog.port import Start
from alphapanda.mesh.watches import Revisions
from alphapanda.portfolio import consumer as portfolio_topics
from alphapanda.portfolio.api import PortfolioApi
from alphapanda.portfolio.broker_reconciliation import BrokerReconciliation
from alphapanda.portfolio.cache import BooksCache
from alphapanda.portfolio.consumer import PortfolioConsumer
from alphapanda.portfolio.gauges import PortfolioGauges
from alphapanda.portfolio.manager import PortfolioManager
from alphapanda.portfolio.messages import PortfolioMessages
from alphapanda.portfolio.reader import PortfolioReader
from alphapanda.portfolio.reconciler import Reconciler
from alphapanda.portfolio.reconciliation import Reconciliation
from alphapanda.portfolio.slippage import SlippageReports
from alphapanda.portfolio.snapshots import Snapshots
from alphapanda.portfolio.store.contract_notes import ContractNotes
from alphapanda.portfolio.store.discrepancies import DiscrepancyStore
from alphapanda.portfolio.store.port import Cause
from alphapanda.portfolio.store.postgres import PostgresPortfolioStore
from alphapanda.portfolio.watching import PortfolioWatches
from panda.events.v1.events_pb2 import Event
from panda.portfolio.v1.portfolio_pb2_grpc import add_PortfolioServiceServicer_to_server
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

RISK_SERVICE = "panda.risk.v1.RiskService"

TRADING_SERVICE = "panda.trading.v1.TradingService"


def portfolio_room(resources: ProcessResources) -> Room:
    """Builds the room."""
    settings = resources.settings
    events = outbox(resources, "portfolio")
    store = PostgresPortfolioStore(resources.engine, events)
    simulated = resources.simulated_brokers
    # A live broker keeps the cash itself: our ledger starts at zero and holds the changes by our fills.
    starting_cash = {
        broker: settings.paper_trading.starting_cash if broker in simulated else Decimal(0)
        for broker in resources.router.enabled
    }
    manager = PortfolioManager(
        starting_cash, settings.account, store, resources.prices, resources.instruments
    )
    snapshots = Snapshots(
        store,
        manager,
        resources.prices,
        timedelta(seconds=settings.portfolio_manager.snapshot_interval_seconds),
        IST,
        wall_clock,
    )
    reconciliation = Reconciliation(manager, settings.portfolio_manager.reconciliation_interval_seconds)
    revisions = Revisions(store.revisions)

    async def on_frame(event: Event) -> None:
        frame = frame_from(event.tick_frame)
        await snapshots.before(frame.market_time_ns, Cause(event.event_id, event.correlation_id))
        manager.handle_frame(frame)

    margins = funds_terms_of(settings.paper_trading).margins
    messages = PortfolioMessages(resources.instruments, dict.fromkeys(simulated, margins))
    cache = BooksCache(store, resources.redis)
    reader = PortfolioReader(store, cache, manager, messages, lambda: snapshots.trading_day)
    gauges = PortfolioGauges(
        store,
        cache,
        manager,
        resources.prices,
        lambda: snapshots.taken_to,
        lambda: snapshots.trading_day,
    )
    watches = PortfolioWatches(store, reader, messages, revisions)
    strategies = KnownStrategies()
    about_strategies = follower(
        resources, "portfolio", "portfolio.strategies", PAYLOAD, strategies.apply, Start.EARLIEST
    )
    strategies.follow(about_strategies.settled)
    to_trading = resources.channel("trading", TRADING_SERVICE, caller="portfolio")
    to_risk = resources.channel("risk", RISK_SERVICE, caller="portfolio")
    trading = TradingServiceStub(to_trading)
    discrepancies = DiscrepancyStore(resources.engine)
    reconciler = Reconciler(
        store,
        discrepancies,
        broker_readers(resources, trading, store),
        trading,
        RiskServiceStub(to_risk),
        wall_clock,
    )
    with_broker = BrokerReconciliation(
        store, reconciler, settings.portfolio_manager.broker_reconciliation_seconds
    )
    servicer = PortfolioApi(
        store,
        manager,
        reader,
        watches,
        messages,
        settings.active_brokers,
        strategies,
        settings.account,
        reconciler,
        discrepancies,
        wall_clock,
        SlippageReports(store, resources.instruments),
        ContractNotes(resources.engine),
    )
    purges = purging(resources, "portfolio")
    return Room(
        service="portfolio",
        full_name="panda.portfolio.v1.PortfolioService",
        registration=lambda server: add_PortfolioServiceServicer_to_server(servicer, server),
        consumers=[
            consumer(
                resources,
                "portfolio",
                portfolio_topics.GROUP,
                PortfolioConsumer(
                    manager,
                    store,
                    [snapshots.booked, lambda _: revisions.poll_now()],
                    resources.figures,
                    tracer=resources.tracer("portfolio"),
                ),
                notes_decisions=True,
            )
        ],
        followers=[
            about_strategies,
            follower(resources, "portfolio", "portfolio.frames", "tick_frame", on_frame, Start.LATEST),
        ],
        relay=relay(resources, events),
        parts=[
            (Phase.WAKE, manager),
            (Phase.WAKE, snapshots),
            (Phase.WAKE, reconciliation),
            (Phase.WAKE, revisions),
            (Phase.WAKE, purges.rounds),
            (Phase.WAKE, with_broker.rounds),
        ],
        channels=[to_trading, to_risk],
        checks=[reconciliation, snapshots.rounds, purges.rounds, with_broker.rounds],
        degradable=[with_broker],
        probes={"snapshots": snapshot_age(resources, lambda: snapshots.taken_to)},
        gauges=[gauges.points],
    )
