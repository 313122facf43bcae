"""Builds the room of trading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from alphapanda.app.clocks import boot_clock, wall_clock
from alphapanda.app.options import trading_options
from alphapanda.app.paper import paper_market
from alphapanda.app.process import Gauges, Phase, Room
from alphapanda.app.resources import ProcessResources
from alphapanda.app.rooms.reading import consumer, follower, outbox, purging, relay
from alphapanda.consuming.known_strategies import KnownStrategies
from alphapanda.eventlog.port import Start
from alphapanda.mesh.watches import Revisions
from alphapanda.ops.core import BrokerReport
from alphapanda.paper_exchange.exchange import FundsAtFill, PaperExchange, everything_paid
from alphapanda.paper_exchange.frames import PaperFrames
from alphapanda.paper_exchange.store.rows import look_ups_purge
from alphapanda.settings.model import Settings
from alphapanda.telemetry.figures import Point
from alphapanda.telemetry.gauges import HEADROOM, LIMIT
from alphapanda.trading import consumer as trading_topics
from alphapanda.trading.api import TradingApi
from alphapanda.trading.call_slots import CALLS_AT_ONCE
from alphapanda.trading.change_commands import ChangeCommands
from alphapanda.trading.closing_auction import ClosingAuctionWatch
from alphapanda.trading.consumer import TradingAssignment, TradingConsumer
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.core.square_off import OrderPace
from alphapanda.trading.escalations import Escalations
from alphapanda.trading.execution_context import (
    OPT_IN_PAYLOAD,
    ExecutionContext,
    OptIns,
    Step,
    no_latency,
)
from alphapanda.trading.executor import OrderExecutor
from alphapanda.trading.exit_cuts import ExitCuts
from alphapanda.trading.foreign import ForeignTrades
from alphapanda.trading.held_orders import HeldOrders
from alphapanda.trading.hints import OrderHints
from alphapanda.trading.late_arrivals import LateArrivals
from alphapanda.trading.manual import ManualOrders
from alphapanda.trading.measuring import OrderFigures
from alphapanda.trading.order_changes import OrderChanges
from alphapanda.trading.order_spans import OrderSpans
from alphapanda.trading.protection_commands import ProtectionCommands
from alphapanda.trading.protections import Protections
from alphapanda.trading.routing import BrokerRoutings
from alphapanda.trading.square_off import SquareOffs
from alphapanda.trading.store.broker_routing import RoutingSwitches
from alphapanda.trading.store.gauges import TradingGauges
from alphapanda.trading.store.postgres import PostgresTradingStore
from alphapanda.trading.store.statements import tombstones_purge
from alphapanda.trading.traders.isolation import IsolatedTrader, IsolatedTraders
from alphapanda.trading.traders.registry import TraderParts
from alphapanda.trading.traders.trader import ExecutionMode
from alphapanda.trading.watching import OrderWatches
from panda.events.v1.events_pb2 import Event
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub
from panda.trading.v1.trading_pb2_grpc import add_TradingServiceServicer_to_server

if TYPE_CHECKING:
    from alphapanda.trading.traders.kite_parts import ZerodhaParts

RISK_SERVICE = "panda.risk.v1.RiskService"

TRADING_SERVICE = "panda.trading.v1.TradingService"


def trading_room(
    resources: ProcessResources, at: Step, payable: FundsAtFill = everything_paid
) -> tuple[Room, PostgresTradingStore, HeldOrders]:
    """Builds the room, the store that knows the orders, and what drives those that the paper exchange has held.

    Args:
        resources: shared by the services of this process.
        at: called at each step of an order.
        payable: what an account's funds pay of an order that the exchange has held.
    """
    settings = resources.settings
    paper = settings.paper_trading
    measured = OrderFigures(resources.figures)
    spans = OrderSpans(
        resources.tracer("trading"),
        lambda broker: resources.topic_map.topic("signal_validated", broker),
        trading_topics.GROUP,
    )
    events = outbox(resources, "trading")
    store = PostgresTradingStore(resources.engine, events, wall_clock, measured.committed)
    exchange = PaperExchange(
        resources.paper_engine,
        paper_market(settings),
        resources.prices,
        resources.calendar,
        resources.instruments,
    )
    options = trading_options(settings.trading)
    router = resources.router
    routings = BrokerRoutings(RoutingSwitches(resources.engine), router, settings.active_brokers, wall_clock)
    traders = IsolatedTraders(
        resources.brokers.traders(
            settings.active_brokers,
            router.enabled,
            TraderParts(exchange, paper.visibility_window_seconds, _zerodha_parts(resources)),
        ),
        options.call_timeout_seconds,
    )
    opt_ins = OptIns()
    checks = PreSubmitChecks(
        router,
        opt_ins,
        resources.calendar,
        timedelta(seconds=settings.trading.price_max_age_seconds),
        timedelta(minutes=settings.zerodha.ask_after_minutes),
        paper_as_live=settings.paper_trading.as_live,
    )
    context = ExecutionContext(
        store=store,
        traders=traders.by_broker,
        market=resources.prices_for_decisions,
        instruments=resources.instruments,
        boot_clock=boot_clock,
        wall_clock=wall_clock,
        order_sent=resources.metrics.order_sent if resources.metrics else no_latency,
        measured=measured,
        spans=spans,
    )
    executor = OrderExecutor(context, checks, options, at)
    late_arrivals = LateArrivals(context)
    escalations = Escalations(context, settings.zerodha.escalate_after_seconds)
    changes = OrderChanges(context, executor.driver, options)
    cuts = ExitCuts(context, changes.begin)
    foreign = ForeignTrades(context, cuts.look)
    protections = Protections(
        context,
        executor.driver,
        changes,
        resources.calendar,
        settings.trading.protection_interval_seconds,
    )
    executor.driver.protections = protections
    auction = ClosingAuctionWatch(
        context, resources.calendar, resources.brokers.live(settings.active_brokers)
    )
    hints = OrderHints(store, executor.driver, traders.by_broker.values())
    channel = resources.channel("risk", RISK_SERVICE, caller="trading")
    manual = ManualOrders(
        store, executor, RiskServiceStub(channel), settings.trading.manual_orders_under_way, spans
    )
    revisions = Revisions(store.account_revisions)
    verdicts = TradingConsumer(executor, manual, measured, spans)
    strategies = KnownStrategies()

    async def learn(event: Event) -> None:
        await opt_ins.learn(event)
        await strategies.apply(event)

    about_strategies = follower(
        resources, "trading", "trading.strategies", OPT_IN_PAYLOAD, learn, Start.EARLIEST
    )
    strategies.follow(about_strategies.settled)
    servicer = TradingApi(
        store=store,
        executor=executor,
        manual=manual,
        changes=ChangeCommands(
            store,
            changes,
            resources.prices_for_decisions,
            resources.calendar,
            resources.instruments,
            wall_clock,
        ),
        protections=ProtectionCommands(store, protections, resources.instruments),
        square_offs=SquareOffs(
            store,
            router.enabled,
            resources.prices_for_decisions,
            resources.calendar,
            resources.instruments,
            wall_clock,
            {"zerodha": OrderPace(settings.zerodha.orders_per_second, settings.zerodha.orders_per_minute)},
        ),
        watches=OrderWatches(store, revisions, resources.instruments),
        traders=traders.by_broker,
        router=router,
        market=resources.prices_for_decisions,
        calendar=resources.calendar,
        instruments=resources.instruments,
        strategies=strategies,
        account=settings.account,
        wall_clock=wall_clock,
        routings=routings,
    )
    retention = settings.retention
    purges = purging(
        resources,
        "trading",
        tombstones_purge(timedelta(hours=retention.decisions_hours)),
        look_ups_purge(timedelta(hours=retention.look_ups_hours)),
    )
    held = HeldOrders(exchange, store, executor.driver, payable, protections)
    room = Room(
        service="trading",
        full_name=TRADING_SERVICE,
        registration=lambda server: add_TradingServiceServicer_to_server(servicer, server),
        consumers=[
            consumer(
                resources,
                "trading",
                trading_topics.GROUP,
                verdicts,
                discard=verdicts.discard,
                records_spans=True,
                assignment=TradingAssignment(executor, manual, changes),
            )
        ],
        followers=[about_strategies],
        relay=relay(resources, events),
        parts=[
            (Phase.WAKE, routings),
            (Phase.WAKE, traders),
            (Phase.WAKE, executor),
            (Phase.WAKE, PaperFrames(exchange, held, resources.log, resources.topic_map)),
            (Phase.WAKE, changes),
            (Phase.WAKE, protections.rounds),
            (Phase.WAKE, auction.rounds),
            (Phase.WAKE, hints),
            (Phase.WAKE, late_arrivals.rounds),
            *([(Phase.WAKE, one.rounds) for one in (foreign, cuts, escalations)] if resources.kite else []),
            (Phase.WAKE, manual),
            (Phase.WAKE, revisions),
            (Phase.WAKE, purges.rounds),
        ],
        brokers=lambda: broker_reports(traders.by_broker),
        channels=[channel],
        checks=[
            late_arrivals.rounds,
            changes.rounds,
            protections.rounds,
            auction.rounds,
            foreign.rounds,
            cuts.rounds,
            escalations.rounds,
            purges.rounds,
        ],
        degradable=[traders],
        gauges=[
            TradingGauges(resources.engine, settings.active_brokers).points,
            limiters(settings, executor, manual),
        ],
        busy=lambda: protections.busy,
    )
    return room, store, held


def _zerodha_parts(resources: ProcessResources) -> ZerodhaParts | None:
    if resources.kite is None:
        return None
    from alphapanda.app.kite_trading import zerodha_parts  # noqa: PLC0415 - only where Zerodha is used

    return zerodha_parts(resources, resources.kite)


def limiters(settings: Settings, executor: OrderExecutor, manual: ManualOrders) -> Gauges:
    """Returns a function for what trading's limiters have left, by active broker."""

    async def points() -> Sequence[Point]:
        found = []
        for broker in settings.active_brokers:
            entries, exits = executor.driver.free_slots(broker)
            for name, free, most in (
                ("broker_calls_entries", entries, CALLS_AT_ONCE),
                ("broker_calls_exits", exits, CALLS_AT_ONCE),
                ("manual_orders", manual.free_places(broker), settings.trading.manual_orders_under_way),
            ):
                found += [Point(HEADROOM, free, (name, broker)), Point(LIMIT, most, (name, broker))]
        return found

    return points


def broker_reports(traders: Mapping[str, IsolatedTrader]) -> Sequence[BrokerReport]:
    """Returns the state of each broker in trading."""
    return [_broker_report(trader) for trader in traders.values()]


def _broker_report(trader: IsolatedTrader) -> BrokerReport:
    if trader.not_ready:
        return BrokerReport(trader.broker, "not ready", trader.problem)
    mode = trader.get_execution_mode()
    if mode is ExecutionMode.OFF:
        return BrokerReport(trader.broker, "off", "active but not enabled: nothing is routed there")
    return BrokerReport(trader.broker, "on", trader.problem or mode.value)
