"""Builds the room of risk."""

from __future__ import annotations

import time
from datetime import timedelta

from alphapanda.app.clocks import wall_clock
from alphapanda.app.funds import funds_terms_of, venue_of
from alphapanda.app.kite_accounts import accounts_of_brokers
from alphapanda.app.limits import limits_at_brokers, limits_of
from alphapanda.app.process import Phase, Room
from alphapanda.app.resources import ProcessResources
from alphapanda.app.rooms.reading import consumer, follower, outbox, purging, relay
from alphapanda.consuming.known_strategies import KnownStrategies
from alphapanda.eventlog.port import Start
from alphapanda.risk import consumer as risk_topics
from alphapanda.risk import strategy_statuses as strategy_statuses_topic
from alphapanda.risk.api import RiskApi
from alphapanda.risk.consumer import OrderEventHandler, RawSignalHandler
from alphapanda.risk.core.check import Venue
from alphapanda.risk.decision_inputs import DecisionInputs
from alphapanda.risk.decision_service import DecisionService
from alphapanda.risk.decision_spans import DecisionSpans
from alphapanda.risk.kill_switches import KillSwitches
from alphapanda.risk.limit_service import LimitService
from alphapanda.risk.live_accounts import LiveAccounts
from alphapanda.risk.measuring import DecisionFigures
from alphapanda.risk.names import Names
from alphapanda.risk.reconciliation import BrokerReconciliation
from alphapanda.risk.reservations import ReservationReleaser
from alphapanda.risk.restricted_file import RestrictedFile
from alphapanda.risk.square_off_timer import SquareOffTimer
from alphapanda.risk.store.gauges import RiskGauges
from alphapanda.risk.store.postgres import PostgresRiskStore
from alphapanda.risk.store.statements import verdicts_purge
from alphapanda.risk.strategy_statuses import StrategyStatuses
from alphapanda.risk.superseding import SupersededOrders
from panda.events.v1.events_pb2 import Event
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from panda.risk.v1.risk_pb2_grpc import add_RiskServiceServicer_to_server
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

STRATEGY_STATUS_TIMEOUT_SECONDS = 10.0
"""How long risk waits for a strategy revision that the control topic hasn't delivered yet."""

RISK_SERVICE = "panda.risk.v1.RiskService"

PORTFOLIO_SERVICE = "panda.portfolio.v1.PortfolioService"

TRADING_SERVICE = "panda.trading.v1.TradingService"


def risk_room(resources: ProcessResources) -> tuple[Room, SquareOffTimer, DecisionService]:
    """Builds the room, the square-off timer, which lockstep triggers itself, and what knows the accounts' funds."""
    settings = resources.settings
    events = outbox(resources, "risk")
    paper, simulated = settings.paper_trading, resources.simulated_brokers
    cash = dict.fromkeys(simulated, paper.starting_cash)
    store = PostgresRiskStore(resources.engine, events, cash, settings.account)
    limits = limits_of(settings.risk, settings.paper_trading.square_off_time)
    live = resources.brokers.live(settings.active_brokers)
    listed = settings.zerodha.restricted_file
    restricted = RestrictedFile(listed, settings.zerodha.restricted_most_days, wall_clock) if listed else None
    strategy_statuses = StrategyStatuses(STRATEGY_STATUS_TIMEOUT_SECONDS, time.monotonic)
    inputs = DecisionInputs(
        views=resources.prices,
        price_budget_seconds=settings.redis.decision_budget_seconds,
        instruments=resources.instruments,
        calendar=resources.calendar,
        limits=limits,
        strategy_statuses=strategy_statuses,
        funds=dict.fromkeys(simulated, funds_terms_of(paper)),
        venues=dict.fromkeys(settings.active_brokers, Venue.LIVE) | dict.fromkeys(simulated, venue_of(paper)),
        live=live,
        limits_at=limits_at_brokers(settings, limits),
        restricted=restricted,
    )
    measured = DecisionFigures(resources.figures)
    channel = resources.channel("trading", TRADING_SERVICE, caller="risk")
    spans = DecisionSpans(resources.tracer("risk"))
    trading = TradingServiceStub(channel)
    superseded = SupersededOrders(store, trading, settings.active_brokers)
    decisions = DecisionService(store, inputs, wall_clock, measured, spans, superseded.note)
    kill_switches = KillSwitches(
        store,
        resources.mirror,
        trading,
        settings.active_brokers,
        wall_clock,
        compare_seconds=settings.risk.kill_switch_comparison_seconds,
    )
    books = resources.channel("portfolio", PORTFOLIO_SERVICE, caller="risk")
    reconciliation = BrokerReconciliation(
        store, kill_switches, trading, PortfolioServiceStub(books), resources.simulated_brokers
    )
    reservations = ReservationReleaser(decisions, store, trading, settings.active_brokers)
    timer = SquareOffTimer(decisions, store, settings.active_brokers, lambda view: view.frame_id, spans=spans)
    signals = RawSignalHandler(decisions, measured, superseded.cancel)
    strategies = KnownStrategies()

    async def learn(event: Event) -> None:
        await strategy_statuses.apply(event)
        await strategies.apply(event)

    about_strategies = follower(
        resources, "risk", "risk.strategies", strategy_statuses_topic.PAYLOAD, learn, Start.EARLIEST
    )
    strategies.follow(about_strategies.settled)
    servicer = RiskApi(
        decisions,
        store,
        kill_switches,
        LimitService(store, wall_clock, live),
        resources.instruments,
        Names(store, strategies, resources.instruments, settings.active_brokers, settings.account),
        reconciliation,
        LiveAccounts(
            store, inputs, accounts_of_brokers(settings, live), resources.router.is_enabled, wall_clock
        ),
    )
    purges = purging(resources, "risk", verdicts_purge(timedelta(hours=settings.retention.decisions_hours)))
    room = Room(
        service="risk",
        full_name=RISK_SERVICE,
        registration=lambda server: add_RiskServiceServicer_to_server(servicer, server),
        consumers=[
            consumer(
                resources,
                "risk",
                f"{risk_topics.GROUP}.orders",
                OrderEventHandler(decisions, superseded.cancel),
            ),
            consumer(
                resources,
                "risk",
                f"{risk_topics.GROUP}.signals",
                signals,
                discard=signals.discard,
                notes_decisions=True,
            ),
        ],
        followers=[about_strategies],
        gauges=[RiskGauges(resources.engine).points],
        relay=relay(resources, events),
        parts=[
            (Phase.WAKE, kill_switches),
            (Phase.WAKE, reservations.rounds),
            (Phase.WAKE, superseded.rounds),
            (Phase.FEED, timer.rounds),
            (Phase.WAKE, purges.rounds),
            (Phase.FEED, reconciliation.rounds),
        ],
        channels=[channel, books],
        checks=[
            reconciliation.rounds,
            kill_switches.rounds,
            kill_switches.comparison,
            reservations.rounds,
            superseded.rounds,
            timer.rounds,
            purges.rounds,
        ],
        degradable=[kill_switches],
    )
    return room, timer, decisions
