"""`alphapanda serve`: runs some of the services in one process, on external Kafka, PostgreSQL and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import grpc
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.app import clocks
from alphapanda.app.bound import StopBound
from alphapanda.app.building import open_connections, process_of
from alphapanda.app.calendars import open_calendar
from alphapanda.app.clocks import wall_clock
from alphapanda.app.descriptors import raise_descriptor_limit
from alphapanda.app.feeding import FeedWanted, check_feed, marketdata_room, open_named_feed
from alphapanda.app.instruments import known_instruments, registry_of
from alphapanda.app.kite_accounts import BROKER_SESSION, kite_accounts
from alphapanda.app.measuring import open_metrics
from alphapanda.app.mesh_agreement import what_was_taken_back
from alphapanda.app.options import kafka_options
from alphapanda.app.preflight import StartCheck, blocking, log_checks, preflight
from alphapanda.app.process import CONNECTIONS_STOP_SECONDS, Process, Room
from alphapanda.app.resources import ProcessResources
from alphapanda.app.rooms.auth import auth_room, require_keys
from alphapanda.app.rooms.instruments import instruments_room
from alphapanda.app.rooms.portfolio import portfolio_room
from alphapanda.app.rooms.risk import risk_room
from alphapanda.app.rooms.strategy import strategy_room
from alphapanda.app.rooms.trading import trading_room
from alphapanda.app.security import UNSECURED, open_security
from alphapanda.app.spans import open_tracing
from alphapanda.app.status import OPS_SERVICE
from alphapanda.app.topics import topics_of
from alphapanda.app.zerodha import CALLERS, require_keys_of, with_zerodha
from alphapanda.contract.topics import TopicMap
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.pace import REAL
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.port import EventLog, LogUnavailable
from alphapanda.instruments.client import DirectoryFollower, list_instruments
from alphapanda.instruments.core import shipped_instruments
from alphapanda.instruments.store.postgres import PostgresInstrumentStore
from alphapanda.instruments.syncing import recover
from alphapanda.marketdata.feeds.recording_folder import FolderRecorder, check_recording_folder
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.server import probe_port
from alphapanda.mesh.status import describe_rpc_error
from alphapanda.ops.remote import RemoteService
from alphapanda.resilience.attempts import until_it_works
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.failures import in_one_line
from alphapanda.settings.model import Settings
from alphapanda.storage.schema import schema_version
from alphapanda.trading.execution_context import no_step
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry
from panda.instruments.v1.instruments_pb2_grpc import InstrumentServiceStub
from panda.ops.v1.ops_pb2_grpc import OpsServiceStub

SERVICES: Final = ("instruments", "marketdata", "strategy", "risk", "trading", "portfolio", "auth", "ops")
INSTRUMENT_SERVICE: Final = "panda.instruments.v1.InstrumentService"
_NAMED = 3
"""How many missing topics a message names."""
_AWAY = (SQLAlchemyError, RedisError, LogUnavailable, OSError, grpc.aio.AioRpcError)
T = TypeVar("T")
_log = structlog.get_logger(__name__)


class NotReady(Exception):
    """The services can't start yet; the message says what is missing and what to run."""


class Serving:
    """Runs some of the services in one process.

    Args:
        settings: all settings.
        services: names out of SERVICES.
        port: port of the gRPC server.
        feed: "sim", for marketdata; feeds faster than real time run only embedded.
        record: folder in which marketdata records the feed; None records nothing.
        on_checked: called with the checks before the services start.

    Raises:
        UnknownName: a name is no service.
        InvalidInput: a service is named twice, the mesh can't run the feed, there is no feed to record, or auth has no key
            to sign tokens with.
    """

    def __init__(
        self,
        settings: Settings,
        services: Sequence[str],
        port: int,
        feed: str = "sim",
        record: Path | None = None,
        on_checked: Callable[[Sequence[StartCheck]], None] = lambda _: None,
    ) -> None:
        self._on_checked = on_checked
        for name in services:
            if name not in SERVICES:
                raise UnknownName("service", name, SERVICES)
        if len(set(services)) != len(services):
            raise InvalidInput("service", " ".join(services), "each service once")
        if feed.partition(":")[0] == "replay":
            raise InvalidInput(
                "feed", feed, "a feed in real time; a replay moves in lockstep, use `alphapanda up`"
            )
        if record is not None and "marketdata" not in services:
            raise InvalidInput("--record", record, "marketdata among the services, whose feed is recorded")
        if "auth" in services:
            require_keys(settings.auth)  # refused here, before anything is opened
        require_keys_of(settings, services)
        self._record = record
        self._settings = settings
        self._services = [name for name in SERVICES if name in services]
        self._port = port
        self._feed = feed
        self._stack = AsyncExitStack()
        self._bound = StopBound(CONNECTIONS_STOP_SECONDS)
        self._process: Process | None = None
        self._security = UNSECURED

    async def start(self) -> None:
        """Waits for dependencies, checks them, and starts; stops again what was started where something fails.

        Raises:
            NotReady: the schema is behind, topics are missing, or a dependency didn't answer in time.
            PortInUse: another process listens there.
            TooFewDescriptors: this process may open too few files.
            InvalidInput: the feed can't be opened.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops everything in reverse order: NOT_SERVING, finish running work, commit, exit; within STOP_SECONDS."""
        await self._stack.aclose()

    @property
    def ending(self) -> Sequence[str]:
        """Names of the parts that are being stopped now."""
        return (*(self._process.ending if self._process else ()), *self._bound.ending)

    async def _start(self) -> None:
        settings = self._settings
        raise_descriptor_limit()
        self._security = open_security(settings, self._services[0])
        if self._port:
            probe_port(settings.api.host, self._port)
        if "marketdata" in self._services:
            check_feed(settings, open_calendar(settings, None), FeedWanted(self._feed, REAL))
        if self._record is not None:
            check_recording_folder(self._record)
        brokers = BrokerRegistry(BROKERS)
        topic_map = topics_of(settings, brokers)
        engine, paper_engine, redis = open_connections(
            settings, brokers, settings.database.url, settings.redis.url, self._stack, self._bound
        )
        log = mesh_log(settings, topic_map)
        version = await self._retry_until_answered("the database", lambda: schema_version(engine))
        if version.foreign:
            raise NotReady(
                f"the database's schema is at {version.current}, which this program doesn't know: a newer program migrated"
                " it; install that one"
            )
        if not version.up_to_date:
            raise NotReady(
                f"the database's schema is at {version.current or 'nothing'}, {version.needed} is needed:"
                " run `alphapanda db upgrade`"
            )
        await self._retry_until_answered("Redis", lambda: _ping(redis))
        await self._retry_until_answered("Kafka", log.start)
        self._stack.push_async_callback(self._bound.end, "event log", log.stop)
        await _require_topics(log, topic_map)
        await self._require_known_events(engine, log, topic_map)
        store = PostgresInstrumentStore(engine)
        resources = ProcessResources(
            settings=settings,
            engine=engine,
            paper_engine=paper_engine,
            redis=redis,
            log=log,
            topic_map=topic_map,
            brokers=brokers,
            calendar=open_calendar(settings, None),
            directory=await self._directory(store),
            target=self._target,
            metrics=open_metrics(settings, self._stack),
            security=self._security,
            elsewhere=lambda service: service not in self._services,
            tracer=open_tracing(settings, "kafka", self._stack, self._bound),
        )
        await self._run(resources)

    async def _require_known_events(self, engine: AsyncEngine, log: EventLog, topic_map: TopicMap) -> None:
        taken_back = await self._retry_until_answered(
            "Kafka", lambda: what_was_taken_back(engine, log, topic_map, self._services)
        )
        if taken_back:
            raise NotReady(
                f"Kafka is newer than the database ({taken_back}): if PostgreSQL was restored to an earlier time, stop"
                " every service and run `alphapanda db restored`; otherwise database.url names another database than"
                " this Kafka's"
            )

    def _target(self, service: str) -> str:
        if service in self._services:
            return f"{self._settings.api.host}:{self._port}"
        return self._settings.mesh.target(service)

    async def _directory(self, store: PostgresInstrumentStore) -> InstrumentDirectory:
        if "instruments" in self._services:
            today = clocks.today()
            await recover(registry_of(self._settings), store, shipped_instruments(today))
            known = known_instruments(self._settings, today)
            await store.upsert(list(known), today)
            return known
        target, security = self._settings.mesh.instruments, self._security.channels
        connect = partial(open_channel, target, [INSTRUMENT_SERVICE], security=security)
        async with connect() as channel:
            stub = InstrumentServiceStub(channel)
            listed = await self._retry_until_answered("InstrumentService", lambda: list_instruments(stub))
        directory = InstrumentDirectory(listed.instruments)
        follower = DirectoryFollower(directory, listed.revision, connect)
        self._stack.push_async_callback(follower.stop)
        follower.start()
        return directory

    async def _retry_until_answered(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Retries a call to a dependency, for up to mesh.dependency_patience_seconds.

        Raises:
            NotReady: the dependency didn't answer in that time.
        """
        wait_seconds = self._settings.mesh.dependency_patience_seconds
        until = asyncio.get_running_loop().time() + wait_seconds
        again = self._settings.retry
        backoff = Backoff(again.initial_seconds, again.max_seconds)

        async def wait(away: Exception, failures: int) -> None:
            why = describe_rpc_error(away) if isinstance(away, grpc.aio.AioRpcError) else in_one_line(away)
            if asyncio.get_running_loop().time() >= until:
                raise NotReady(f"{what} did not answer within {wait_seconds:g} s: {why}") from away
            if failures & (failures - 1) == 0:  # the 1st, 2nd, 4th, 8th …
                _log.info("start.waiting", dependency=what, failures=failures, error=why)
            await asyncio.sleep(backoff.seconds(failures))

        return await until_it_works(ask, wait, lambda error: isinstance(error, _AWAY))

    async def _run(self, resources: ProcessResources) -> None:
        caller = next((name for name in self._services if name in CALLERS), "")
        resources, sessions = with_zerodha(
            resources, caller, calls=bool(caller), logins="auth" in self._services
        )
        rooms = [*await self._rooms(resources), *sessions]
        checks = await preflight(resources, (), wall_clock())
        checks += [await ask() for room in rooms for ask in room.start_checks]
        log_checks(checks)
        self._on_checked(checks)
        if reasons := blocking(checks):
            raise NotReady(reasons)
        watches_all = "ops" in self._services
        elsewhere = [
            name
            for name in SERVICES
            if watches_all and name not in self._services and (name != "auth" or self._settings.auth.enabled)
        ]
        if watches_all and not sessions and kite_accounts(self._settings):
            elsewhere.append(BROKER_SESSION)
        process = process_of(
            resources,
            rooms,
            self._port,
            elsewhere=[self._remote(name) for name in elsewhere],
            watch_groups=watches_all,
            order=SERVICES,
            drain_seconds=self._settings.mesh.drain_seconds,
            disk=self._settings.logging.folder,
        )
        self._process = process
        self._stack.push_async_callback(process.stop)
        await process.start()

    def _remote(self, service: str) -> RemoteService:
        security = self._security.channels
        keeper = "auth" if service == BROKER_SESSION else service
        channel = open_channel(self._settings.mesh.target(keeper), [OPS_SERVICE], security=security)
        self._stack.push_async_callback(channel.close, None)
        return RemoteService(service, OpsServiceStub(channel))

    async def _rooms(self, resources: ProcessResources) -> list[Room]:
        builders: dict[str, Callable[[], Room]] = {
            "instruments": lambda: instruments_room(resources, waits=True),
            "strategy": lambda: strategy_room(resources)[0],
            "risk": lambda: risk_room(resources)[0],
            "trading": lambda: trading_room(resources, no_step)[0],
            "portfolio": lambda: portfolio_room(resources),
            "auth": lambda: auth_room(resources),
        }
        rooms = []
        for name in self._services:
            if name == "marketdata":
                rooms.append(await self._marketdata(resources))
            elif name in builders:
                rooms.append(builders[name]())
        return rooms

    async def _marketdata(self, resources: ProcessResources) -> Room:
        feed = open_named_feed(resources, FeedWanted(self._feed, REAL))
        room, feeding = marketdata_room(
            resources,
            feed,
            before_frame=_no_timer,
            barrier=_no_barrier,
            ready=_no_barrier,
            recorder=None if self._record is None else FolderRecorder(self._record),
        )
        await feeding.publisher.start()
        return room


def mesh_log(settings: Settings, topic_map: TopicMap) -> KafkaEventLog:
    """Opens the log of the mesh: Kafka."""
    return KafkaEventLog(kafka_options(settings.kafka), bulk_topics=topic_map.topics("tick_frame"))


async def _require_topics(log: EventLog, topic_map: TopicMap) -> None:
    there = await log.topics()
    missing = [spec.name for spec in topic_map.specs() if spec.name not in there]
    if missing:
        named = ", ".join(missing[:_NAMED]) + (" …" if missing[_NAMED:] else "")
        what = "1 topic is" if len(missing) == 1 else f"{len(missing)} topics are"
        raise NotReady(f"{what} missing ({named}): run `alphapanda topics ensure`")
    for spec in topic_map.specs():
        if there[spec.name] != spec.partitions:
            raise NotReady(
                f"topic {spec.name} has {there[spec.name]} partitions, the contract says {spec.partitions}: a key's"
                " records would be in two of them. Save its records, delete it and run `alphapanda topics ensure`"
            )


async def _ping(redis: Redis) -> None:
    await redis.ping()


async def _no_timer(_: datetime) -> bool:
    """Does nothing: in real time risk's own timer watches the market's clock."""
    return False


async def _no_barrier() -> None:
    """Does nothing: in real time the feed doesn't wait."""
