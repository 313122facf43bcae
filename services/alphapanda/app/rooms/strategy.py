"""Builds the room of the strategy service."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import grpc
import structlog

from alphapanda.app.active_strategies import check_strategies
from alphapanda.app.clocks import wall_clock
from alphapanda.app.preflight import StartCheck
from alphapanda.app.process import Phase, Room
from alphapanda.app.resources import ProcessResources
from alphapanda.app.rooms.reading import consumer, follower, outbox, purging, relay
from alphapanda.eventlog.port import Start
from alphapanda.strategy import consumer as strategy_topics
from alphapanda.strategy.api import StrategyServicer
from alphapanda.strategy.consumer import StrategyAssignment, StrategyTicks
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.decision_spans import DecisionSpans
from alphapanda.strategy.earlier_bars import EarlierBars, MarketDataBars
from alphapanda.strategy.folder import registry_with
from alphapanda.strategy.measuring import SignalFigures
from alphapanda.strategy.store.gauges import StrategyGauges
from alphapanda.strategy.store.postgres import ACTIVATIONS_PURGE, PostgresStrategyStore
from alphapanda.strategy.yaml_file import StrategyFallback, read_strategies
from panda.marketdata.v1.marketdata_pb2_grpc import MarketDataServiceStub
from panda.strategy.v1.strategy_pb2_grpc import add_StrategyServiceServicer_to_server

MARKET_DATA_SERVICE: Final = "panda.marketdata.v1.MarketDataService"


def strategy_room(resources: ProcessResources, *, demo: bool = False) -> tuple[Room, StrategyTicks]:
    """Builds the room, and the handler of ticks, which knows the strategies that it runs.

    Args:
        resources: shared by the services of this process.
        demo: whether the demo's strategies are started with the services.
    """
    tracer = resources.tracer("strategy")
    events = outbox(resources, "strategy")
    store = PostgresStrategyStore(resources.engine, events)
    log = structlog.get_logger("alphapanda.strategy")
    registry = registry_with(
        resources.settings.strategy.folder, lambda bad: log.error("strategy.file_refused", error=bad.text)
    )
    channels: list[grpc.aio.Channel] = []
    earlier: EarlierBars | None = None
    if resources.settings.strategy.warm_up_from_history:
        channels.append(resources.channel("marketdata", MARKET_DATA_SERVICE, caller="strategy"))
        earlier = MarketDataBars(MarketDataServiceStub(channels[0]))
    ticks = StrategyTicks(
        store=store,
        log=resources.log,
        topic_map=resources.topic_map,
        new_host=lambda: StrategyHost(
            resources.directory,
            resources.calendar,
            resources.router,
            registry,
            resources.settings.strategy.max_errors_in_a_row,
            resources.settings.strategy.max_signals_per_minute,
        ),
        snapshot_interval_seconds=resources.settings.strategy.snapshot_interval_seconds,
        wall_clock=wall_clock,
        elapsed=time.monotonic,
        logger=log,
        measured=SignalFigures(resources.figures),
        spans=None
        if not tracer.on
        else lambda bars: DecisionSpans(tracer, resources.tracer("marketdata"), resources.topic_map, bars),
        earlier=earlier,
    )
    reader = resources.log.group_reader(strategy_topics.GROUP, ticks.topics, Start.LATEST)
    servicer = StrategyServicer(
        store=store,
        registry=registry,
        directory=resources.directory,
        active_brokers=resources.settings.active_brokers,
        account=resources.settings.account,
        signal_ttl_seconds=resources.settings.strategy.signal_ttl_seconds,
        wall_clock=wall_clock,
        most_strategies=resources.settings.strategy.most_strategies,
        live_brokers=resources.brokers.live(resources.settings.active_brokers),
    )
    yaml = resources.settings.strategy.yaml
    fallback = StrategyFallback(read_strategies(yaml) if yaml else (), store, servicer, log)

    def counters() -> Mapping[str, int]:
        counts = ticks.counts()
        return {
            "frames": counts.frames,
            "ticks": counts.ticks,
            "signals": sum(counts.signals.values()),
            "errors": sum(counts.errors.values()),
        }

    async def check() -> StartCheck:
        return check_strategies(
            await store.current(),
            registry.names,
            resources.directory,
            resources.router.enabled,
            demo=demo,
        )

    purges = purging(resources, "strategy", ACTIVATIONS_PURGE)
    room = Room(
        service="strategy",
        full_name="panda.strategy.v1.StrategyService",
        registration=lambda server: add_StrategyServiceServicer_to_server(servicer, server),
        consumers=[
            consumer(
                resources,
                "strategy",
                strategy_topics.GROUP,
                ticks,
                reader=reader,
                assignment=StrategyAssignment(ticks, reader),
            )
        ],
        followers=[
            follower(
                resources,
                "strategy",
                "strategy.changes",
                "strategy_changed",
                ticks.revisions.on_changed,
                Start.EARLIEST,
            )
        ],
        relay=relay(resources, events),
        parts=[(Phase.WAKE, fallback), (Phase.WAKE, purges.rounds)],
        checks=[purges.rounds],
        counters=counters,
        gauges=[StrategyGauges(resources.engine).points],
        start_checks=[check],
        channels=channels,
    )
    return room, ticks
