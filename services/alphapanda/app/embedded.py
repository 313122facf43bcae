"""`alphapanda up`: runs all services with PostgreSQL, Redis and the SQLite log in one process, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.app.backup import backup_of_running
from alphapanda.app.bound import StopBound
from alphapanda.app.building import open_connections, process_of
from alphapanda.app.calendars import open_calendar
from alphapanda.app.clocks import today, wall_clock
from alphapanda.app.demo_strategies import start_demo
from alphapanda.app.descriptors import raise_descriptor_limit
from alphapanda.app.feeding import Feeding, FeedWanted, check_feed, marketdata_room, open_named_feed
from alphapanda.app.instruments import known_instruments, registry_of
from alphapanda.app.local_auth import open_up_security, with_first_admin, with_session_key
from alphapanda.app.lockstep import Barrier
from alphapanda.app.log_check import require_agreement, require_usable_log
from alphapanda.app.measuring import open_metrics
from alphapanda.app.preflight import StartCheck, blocking, log_checks, preflight
from alphapanda.app.process import CONNECTIONS_STOP_SECONDS, Process, Room
from alphapanda.app.resources import ProcessResources
from alphapanda.app.rooms.auth import auth_room
from alphapanda.app.rooms.instruments import instruments_room
from alphapanda.app.rooms.portfolio import portfolio_room
from alphapanda.app.rooms.risk import risk_room
from alphapanda.app.rooms.strategy import strategy_room
from alphapanda.app.rooms.trading import trading_room
from alphapanda.app.security import UNSECURED
from alphapanda.app.spans import open_tracing
from alphapanda.app.start_failures import start_failure
from alphapanda.app.topics import topics_of
from alphapanda.app.up_options import UpOptions
from alphapanda.app.waiting import until, within
from alphapanda.app.zerodha import require_keys_of, with_zerodha
from alphapanda.contract.topics import TopicMap
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.errors import SchemaTooNew
from alphapanda.embedded.layout import Layout
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.redis import EmbeddedRedis
from alphapanda.embedded.supervisor import ServerSupervisor
from alphapanda.eventlog.port import EventLog
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.instruments.core import shipped_instruments
from alphapanda.instruments.store.postgres import PostgresInstrumentStore
from alphapanda.instruments.syncing import recover
from alphapanda.marketdata.feeds.recording import FrameRecorder, check_recording
from alphapanda.marketdata.feeds.registry import RAW
from alphapanda.marketdata.feeds.replay import ReplayFeed
from alphapanda.marketdata.feeds.sim import SimulatedFeed
from alphapanda.mesh.server import ReservedPort, probe_port
from alphapanda.risk.square_off_timer import SquareOffTimer
from alphapanda.settings.model import Settings
from alphapanda.storage.schema import schema_version, upgrade_schema
from alphapanda.storage.write_watch import WriteWatch
from alphapanda.strategy.consumer import StrategyTicks
from alphapanda.trading.held_orders import HeldOrders
from alphapanda.trading.traders.registry import BrokerRegistry
from panda.strategy.v1.strategy_pb2_grpc import StrategyServiceStub

MIGRATION_SECONDS: Final = 600.0
LOG_SECONDS: Final = 120.0
SERVICES_SECONDS: Final = 300.0
STRATEGIES_SECONDS: Final = 60.0
_log = structlog.get_logger(__name__)


class PreflightFailed(Exception):
    """A blocking preflight check failed; the message says which."""


class Embedded:
    """All services on one machine, in one data directory.

    Args:
        settings: all settings; those of database and Redis are replaced by the embedded servers.
        options: options of the command.
    """

    def __init__(self, settings: Settings, options: UpOptions) -> None:
        self._settings = settings
        self._options = options
        self._stack = AsyncExitStack()
        self._bound = StopBound(CONNECTIONS_STOP_SECONDS)
        self._before_binding: Callable[[], None] = lambda: None
        self._supervisors: list[ServerSupervisor] = []
        self._process: Process | None = None
        self.port = 0
        self.security = UNSECURED
        self.checks: Sequence[StartCheck] = ()
        self._first_password = ""
        self.feeding: Feeding | None = None
        self.log: EventLog | None = None
        self.topic_map: TopicMap | None = None

    @property
    def target(self) -> str:
        """Address of the gRPC server."""
        return f"{self._settings.api.host}:{self.port}"

    @property
    def ending(self) -> Sequence[str]:
        """Names of the parts that are being stopped now."""
        return (*(self._process.ending if self._process else ()), *self._bound.ending)

    @property
    def supervision(self) -> Sequence[asyncio.Task[None]]:
        """Tasks that end with ServerLost where PostgreSQL or Redis was given up."""
        return [one.task for one in self._supervisors if one.task is not None]

    @property
    def data_in_words(self) -> str:
        """Counts of the recording's rows that were dropped, not used or changed; empty where there are none."""
        return self.feeding.publisher.account.in_words() if self.feeding else ""

    @property
    def _feed_wanted(self) -> FeedWanted:
        return FeedWanted(self._options.feed, self._options.speed, self._options.instrument)

    async def start(self) -> None:
        """Starts everything; stops again what was started where something fails.

        Raises:
            EmbeddedError: the data directory, its database or its log can't be used, PostgreSQL or Redis didn't start, or a
                part of the start took too long.
            PreflightFailed: a blocking check failed.
            PortInUse: another process listens there.
            TooFewDescriptors: this process may open too few files.
            InvalidInput: the feed can't be opened.
        """
        try:
            await self._start()
        except BaseException as error:
            await self.stop()
            if (failure := start_failure(error, self._options.data_dir)) is not None:
                raise failure from error
            raise

    async def stop(self) -> None:
        """Stops everything, in reverse order."""
        await self._stack.aclose()

    def _calendar(self) -> TradingCalendar:
        """The calendar; a simulated feed's has provisional weekdays, so that it runs on any date."""
        simulated = self._options.feed.partition(":")[0] == SimulatedFeed.name
        return open_calendar(self._settings, self._options.data_dir, today() if simulated else None)

    def _reserved_port(self) -> int:
        """Reserves a free port, because the services need their address before the server listens."""
        reserved = ReservedPort(self._settings.api.host)
        self._before_binding = reserved.release
        self._stack.callback(reserved.release)
        return reserved.number

    async def _start(self) -> None:
        progress = self._options.on_progress
        raise_descriptor_limit()
        open_up_security(self._settings, auth=self._options.auth)  # refuses before anything is touched
        require_keys_of(self._settings, ["up"])
        calendar = self._calendar()
        check_feed(self._settings, calendar, self._feed_wanted)
        if self._options.record is not None:
            check_recording(self._options.record)
        self.port = self._settings.api.port or self._reserved_port()
        directory = DataDirectory(self._options.data_dir)
        directory.acquire(wall_clock(), self.port)
        self._stack.callback(directory.release)
        if self._settings.api.port:
            probe_port(self._settings.api.host, self.port)
        if self._options.fresh:
            progress("starting over: the data directory is wiped")
            await directory.fresh()
        self._options.on_directory(directory.layout)
        self._settings, self.security = open_up_security(
            self._settings, auth=self._options.auth, layout=directory.layout
        )
        self._settings = with_session_key(self._settings, directory.layout)
        resources, differences = await self._open_resources(directory, calendar, progress)
        self.checks = await preflight(resources, differences, wall_clock())
        if reasons := blocking(self.checks):
            self._show_checks()
            raise PreflightFailed(reasons)
        await self._services(resources, progress)
        if self._first_password:
            self._options.on_first_admin(self._first_password)

    def _show_checks(self) -> None:
        log_checks(self.checks)
        self._options.on_checked(self.checks)

    async def _open_resources(
        self, directory: DataDirectory, calendar: TradingCalendar, progress: Callable[[str], None]
    ) -> tuple[ProcessResources, Sequence[str]]:
        settings = self._settings
        postgres = EmbeddedPostgres(directory.path, progress)
        redis_server = EmbeddedRedis(directory.path, progress)
        self._stack.push_async_callback(redis_server.stop)
        self._stack.push_async_callback(postgres.stop)
        progress("starting PostgreSQL and Redis")
        database_url, redis_url = await asyncio.gather(postgres.start(), redis_server.start())
        for server in (postgres, redis_server):
            supervisor = ServerSupervisor(server, settings.embedded.max_failed_starts, wall_clock)
            self._supervisors.append(supervisor)
            supervisor.start()
            self._stack.push_async_callback(supervisor.stop)
        brokers = BrokerRegistry(self._options.brokers)
        engine, paper_engine, redis = open_connections(
            settings, brokers, database_url, redis_url, self._stack, self._bound
        )
        version = await schema_version(engine)
        if version.foreign:
            raise SchemaTooNew(str(version.current), version.needed)
        if not version.up_to_date:
            progress("migrating the database's schema")
            await within(
                upgrade_schema(engine), lambda: "the migration of the schema", MIGRATION_SECONDS, progress
            )
        settings, self._first_password = await with_first_admin(settings, engine)
        self._settings = settings
        topic_map = topics_of(settings, brokers)
        log = SqliteEventLog(directory.layout.events)
        differences = await within(
            self._open_log(log, directory.layout, engine, topic_map),
            lambda: "the event log",
            LOG_SECONDS,
            progress,
        )
        instruments = PostgresInstrumentStore(engine)
        day = today()
        await recover(registry_of(settings), instruments, shipped_instruments(day))
        known = known_instruments(settings, day)
        await instruments.upsert(list(known), day)
        self.log, self.topic_map = log, topic_map
        resources = ProcessResources(
            settings=settings,
            engine=engine,
            paper_engine=paper_engine,
            redis=redis,
            log=log,
            topic_map=topic_map,
            brokers=brokers,
            calendar=calendar,
            directory=known,
            target=lambda _: self.target,
            metrics=open_metrics(settings, self._stack),
            tracer=open_tracing(settings, "sqlite", self._stack, self._bound),
            write_backup=partial(backup_of_running, engine, log, topic_map.active_brokers),
            security=self.security,
        )
        return resources, differences

    async def _open_log(
        self, log: EventLog, layout: Layout, engine: AsyncEngine, topic_map: TopicMap
    ) -> Sequence[str]:
        """Opens the log after it was checked against the database; returns how its topics differ from the contract."""
        await require_usable_log(layout, engine)
        await log.start()
        self._stack.push_async_callback(self._bound.end, "event log", log.stop)
        await require_agreement(layout, engine, log, topic_map)
        return await log.ensure(topic_map.specs())

    async def _services(self, resources: ProcessResources, progress: Callable[[str], None]) -> None:
        resources, sessions = with_zerodha(resources, "up", logins=True)
        strategy, ticks = strategy_room(resources, demo=self._options.demo)
        risk, timer, decisions = risk_room(resources)
        trading, orders, held = trading_room(resources, self._options.at, decisions.payable)
        rooms = [instruments_room(resources, waits=False), strategy, risk, trading, portfolio_room(resources)]
        rooms += [auth_room(resources)] if self._settings.auth.enabled else []
        rooms += sessions
        barrier = Barrier(rooms, orders, WriteWatch(resources.engine, [resources.paper_engine]))
        rooms.insert(1, self._feed_room(resources, barrier, timer, ticks, held))
        process = process_of(
            resources,
            rooms,
            self.port,
            before_binding=self._before_binding,
            servers=self._supervisors,
            disk=self._options.data_dir,
        )
        self._process = process
        self._stack.push_async_callback(process.stop)
        self.checks = [*self.checks, *[await ask() for room in rooms for ask in room.start_checks]]
        self._show_checks()
        progress("starting the services")
        await within(
            process.start(lambda: self._before_feed(resources, ticks)),
            lambda: f"the services ({process.starting})",
            SERVICES_SECONDS,
            progress,
        )

    def _feed_room(
        self,
        resources: ProcessResources,
        barrier: Barrier,
        timer: SquareOffTimer,
        ticks: StrategyTicks,
        held: HeldOrders,
    ) -> Room:
        async def before_frame(market_time: datetime) -> bool:
            return not timer.skips(market_time) and bool(await timer.fire_due())

        feed = open_named_feed(resources, self._feed_wanted)
        held.in_lockstep = feed.lockstep
        room, feeding = marketdata_room(
            resources,
            feed,
            before_frame=before_frame,
            barrier=barrier,
            held=held if feed.lockstep else None,
            ready=lambda: self._wait_for_strategy(ticks),
            recorder=None if self._options.record is None else FrameRecorder(self._options.record),
            watched=ticks.revisions.watched,
            allow_drops=self._options.allow_drops,
        )
        self.feeding = feeding
        for supervisor in self._supervisors:
            if supervisor.name == EmbeddedRedis.name:
                supervisor.restored.append(feeding.publisher.restore_prices)
        return room

    async def _wait_for_strategy(self, ticks: StrategyTicks) -> None:
        """Waits until a strategy runs, where the feed is a recording: that is played only once."""
        if (
            self.feeding is None
            or self.feeding.feed.name not in {ReplayFeed.name, RAW}
            or ticks.revisions.running()
        ):
            return
        _log.info(
            "feed.waiting_for_strategy",
            message="no strategy is running; create and start one, then the recording begins",
        )
        await until(lambda: bool(ticks.revisions.running()))

    async def _before_feed(self, resources: ProcessResources, ticks: StrategyTicks) -> None:
        """Waits until the strategy service holds all its partitions, before the first frame."""
        shards = len(resources.topic_map.partitions(resources.topic_map.topic("tick_frame")))
        await within(
            until(lambda: len(ticks.holds()) == shards),
            lambda: f"the strategy service to take its partitions over ({len(ticks.holds())} of {shards})",
            STRATEGIES_SECONDS,
            self._options.on_progress,
        )
        if self.feeding is not None:
            await self.feeding.publisher.start()
        if self._options.demo:
            await self._seed_demo(resources, ticks)

    async def _seed_demo(self, resources: ProcessResources, ticks: StrategyTicks) -> None:
        async with resources.channel(
            "strategy", "panda.strategy.v1.StrategyService", caller="ops"
        ) as channel:
            await start_demo(
                StrategyServiceStub(channel),
                self._options.demo_brokers,
                ticks.revisions.knows,
                self._options.on_progress,
            )
