"""Risk's room."""

from __future__ import annotations

import time

from alphapanda.app.ground import Ground, wall_clock
from alphapanda.app.process import Phase, Room
from alphapanda.app.rooms.reading import consumer, follower, relay
from alphapanda.eventlog.port import Start
from alphapanda.mesh.channel import open_channel
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
from panda.risk.v1.risk_pb2_grpc import add_RiskServiceServicer_to_server
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

STANDING_PATIENCE_SECONDS = 10.0
"""How long risk waits for a strategy revision that the control topic hasn't told of."""

RISK_SERVICE = "panda.risk.v1.RiskService"

TRADING_SERVICE = "panda.trading.v1.TradingService"


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
    channel = open_channel(ground.target("trading"), [TRADING_SERVICE])
    trading = TradingServiceStub(channel)
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
        parts=[(Phase.WAKE, kill_switches), (Phase.WAKE, reservations.rounds), (Phase.FEED, timer.rounds)],
        channels=[channel],
        checks=[kill_switches.rounds, reservations.rounds, timer.rounds],
    )
    return room, timer
