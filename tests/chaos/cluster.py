"""A mesh to do harm to: Kafka, PostgreSQL and Redis of its own, and each service a process that can be killed.

Services reach PostgreSQL and Redis through TCP proxies; the checker and the questions asked here go around them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncpg
import fork_server
import grpc
import psutil
from evidence import Evidence, Place, Read, gather_evidence
from kafka_server import KafkaServer, free_ports
from redis.connection import parse_url
from running import create_and_start, until
from sqlalchemy import make_url
from story import Account
from tcp_proxy import TcpProxy

from alphapanda.app.process import STOP_SECONDS
from alphapanda.contract.topics import TopicMap
from alphapanda.domain.order import OrderStatus
from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.postgres_programs import SOCKET_NAME
from alphapanda.embedded.redis import EmbeddedRedis
from alphapanda.eventlog.decode import Reason
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.port import Record
from alphapanda.portfolio import consumer as portfolio
from alphapanda.risk import consumer as risk
from alphapanda.trading import consumer as trading
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusRequest
from panda.marketdata.v1.marketdata_pb2_grpc import MarketDataServiceStub
from panda.ops.v1.ops_pb2 import GetStatusRequest, ServiceStatus
from panda.ops.v1.ops_pb2_grpc import OpsServiceStub
from panda.strategy.v1 import strategy_pb2 as strategy
from panda.strategy.v1.strategy_pb2_grpc import StrategyServiceStub
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

HERE = Path(__file__).parent
PUBLISHED_WITHIN = 30.0
ALPHAPANDA = str(Path(sys.executable).with_name("alphapanda"))
SERVICES = ("instruments", "portfolio", "trading", "risk", "strategy", "marketdata", "ops")
BROKERS = ("paper",)
UP_SECONDS = 60.0
QUIET_SECONDS = 60.0
GROUPS = {
    f"{risk.GROUP}.signals": risk.SIGNAL_PAYLOADS,
    f"{risk.GROUP}.orders": risk.ORDER_PAYLOADS,
    trading.GROUP: trading.PAYLOADS,
    portfolio.GROUP: portfolio.PAYLOADS,
}
OPEN = ", ".join(str(status.value) for status in OrderStatus if not status.is_final)
# So impatient that seconds are enough for what takes a minute in earnest.
IMPATIENT = {
    "ACTIVE_BROKERS": ",".join(BROKERS),
    "KAFKA__SESSION_TIMEOUT_SECONDS": "2",
    "KAFKA__REQUEST_TIMEOUT_SECONDS": "5",
    "TRADING__SEND_WINDOW_SECONDS": "1",
    "TRADING__CALL_TIMEOUT_SECONDS": "1",
    "PAPER_TRADING__VISIBILITY_WINDOW_SECONDS": "0.5",
    "PAPER_TRADING__STARTING_CASH": "1000000000",
    "CONSUMERS__DEFAULTS__BACKOFF_MAX_SECONDS": "1",
    "CONSUMERS__DEFAULTS__BREAKER_SECONDS": "1",
    "STRATEGY__FOLDER": str(HERE / "strategies"),
    "STRATEGY__MAX_SIGNALS_PER_MINUTE": "100000",
    "STRATEGY__SNAPSHOT_INTERVAL_SECONDS": "1",
    "HEALTH_CHECKS__INTERVAL_SECONDS": "1",
    "HEALTH_CHECKS__GRACE_SECONDS": "0",
    "HEALTH_CHECKS__TIMEOUT_SECONDS": "3",
    "HEALTH_CHECKS__DATABASE_TIMEOUT_SECONDS": "3",
    "HEALTH_CHECKS__REDIS_TIMEOUT_SECONDS": "3",
    "DATABASE__POOL_SIZE": "5",
    "LOGGING__FORMAT": "json",
}
T = TypeVar("T")


@dataclass(frozen=True)
class Malformed:
    """A record that nobody can read, and why."""

    record: Record
    reason: Reason


@dataclass
class Member:
    """A process of a service."""

    name: str
    service: str
    port: int
    process: fork_server.Process
    began: int
    """Where its log begins in the file of its name."""


class Cluster:
    """The mesh.

    Args:
        folder: where everything is kept; short, because sockets live in it.
        settings: over IMPATIENT, without prefix.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.kafka = KafkaServer(
            folder / "kafka",
            log_initial_task_delay_ms=str(
                10**12
            ),  # records carry the simulator's clock: nothing may be too old
            log_retention_check_interval_ms=str(10**12),
        )
        self.members: dict[str, Member] = {}
        self.trusted = True
        """False once a check has failed: what it holds proves nothing any more."""
        self.proven = Account()
        """What the last check came to."""
        self.malformed: dict[Place, Malformed] = {}
        """What was put among the good records, by its place."""
        self._read = Read()
        self._settings = IMPATIENT | dict(settings or {})
        self._directory = DataDirectory(folder)
        self._postgres, self._redis = EmbeddedPostgres(folder), EmbeddedRedis(folder)
        self._channels: dict[int, grpc.Channel] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._commands = 0

    # -- life ---------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        self._thread.start()
        self._directory.acquire(datetime.now(UTC))
        (self.folder / "spells").mkdir()
        self.ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        bootstrap = self.kafka.start()
        database_url, redis_url = self.run(self._servers())
        self.database_url = database_url
        self.log = KafkaEventLog(KafkaOptions(bootstrap_servers=bootstrap, request_timeout_seconds=5))
        sockets = str(make_url(database_url).query["host"])
        self.postgres = TcpProxy(Path(sockets, SOCKET_NAME))
        self.redis = TcpProxy(Path(parse_url(redis_url)["path"]))
        through = {"host": "127.0.0.1", "port": self.run(self.postgres.start()), "query": {}}
        self._environment = {
            **os.environ,
            **{f"ALPHAPANDA_{name}": value for name, value in self._settings.items()},
            "ALPHAPANDA_DATABASE__URL": make_url(database_url).set(**through).render_as_string(),
            "ALPHAPANDA_REDIS__URL": f"redis://127.0.0.1:{self.run(self.redis.start())}",
            "ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            **{
                f"ALPHAPANDA_MESH__{name.upper()}": f"127.0.0.1:{port}"
                for name, port in self.ports.items()
                if name != "ops"
            },
        }
        for preparation in (("db", "upgrade"), ("topics", "ensure")):
            self.command(*preparation)
        self.run(self.log.start())

    async def _servers(self) -> tuple[str, str]:
        return await self._postgres.start(), await self._redis.start()

    def stop(self) -> None:
        """Ends everything, services first."""
        for member in self.members.values():
            if member.process.poll() is None:
                member.process.kill()
                member.process.wait()
        for channel in self._channels.values():
            channel.close()
        if self._thread.is_alive():
            self.run(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self.kafka.stop()
        self._directory.release()

    async def _end(self) -> None:
        for name in ("postgres", "redis"):
            if hasattr(self, name):
                await getattr(self, name).stop()
        if hasattr(self, "log"):
            await self.log.stop()
        await self._redis.stop()
        await self._postgres.stop()

    def run(self, coroutine: Coroutine[Any, Any, T], seconds: float = 120.0) -> T:
        """The outcome of something asynchronous, in the loop of the proxies."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def soon(self, act: Any, *arguments: Any) -> None:
        """Does something to a proxy, in its loop, and waits for it."""

        async def done() -> None:
            act(*arguments)

        self.run(done())

    def command(self, *arguments: str) -> str:
        """Runs a command of ours to its end; what it printed."""
        done = fork_server.run([ALPHAPANDA, *arguments], env=self._environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # -- services -----------------------------------------------------------------------------------------------------

    def launch(self, service: str, name: str = "", **settings: str) -> Member:
        """Starts a process of a service; the first one under the service's own name and port."""
        name = name or service
        before = self.members.get(name)
        port = before.port if before else self.ports[service] if name == service else free_ports(1)[0]
        log = self.log_of(name)
        log.parent.mkdir(exist_ok=True)
        environment = self._environment | {f"ALPHAPANDA_{key}": value for key, value in settings.items()}
        with log.open("ab") as out:
            began = out.tell()
            process = fork_server.popen(
                [sys.executable, str(HERE / "member.py"), str(self.folder / "spells"),
                 "serve", service, "--port", str(port)],
                env=environment, stdout=out, stderr=out, cwd=self.folder,
            )  # fmt: skip
        self.members[name] = Member(name, service, port, process, began)
        return self.members[name]

    def start_services(self) -> None:
        """Starts what isn't running, and waits until all of it serves."""
        for service in SERVICES:
            if service not in self.members or self.members[service].process.poll() is not None:
                self.launch(service)
        for service in SERVICES:
            self.wait_until_ready(service)
        self.wait_until_serving()

    def wait_until_ready(self, name: str, seconds: float = UP_SECONDS) -> None:
        """Returns once a process says that it is up."""

        def ready() -> bool:
            member = self.members[name]
            assert member.process.poll() is None, f"{name} ended: {self.told(name)}"
            return '"event": "process.ready"' in self.said(name)

        until(ready, seconds, f"{name} ready")

    def wait_until_serving(self, seconds: float = UP_SECONDS) -> float:
        """Returns once every service says SERVING; how long that took."""
        began = time.monotonic()
        until(lambda: not self.hindered(), seconds, "every service serving")
        return time.monotonic() - began

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Ends a process by a signal; one that was asked to has left within STOP_SECONDS."""
        member = self.members[name]
        member.process.send_signal(number)
        member.process.wait(STOP_SECONDS)

    def dismiss(self, name: str) -> None:
        """Asks a second process of a service to end, and forgets it."""
        self.kill(name, signal.SIGTERM)
        del self.members[name]

    def lay(self, service: str, step: str, action: signal.Signals = signal.SIGKILL, nth: int = 1) -> Path:
        """Has a process of the service suffer a signal at a step; the file is gone when it did. See member.py."""
        self._commands += 1
        spell = self.folder / "spells" / service
        draft = spell.with_suffix(".draft")
        draft.write_text(f"{step} {action.name} {nth} {self._commands}")
        draft.rename(spell)
        return spell

    @contextmanager
    def dialects(self) -> Iterator[None]:
        """Meanwhile every service publishes as three versions of the contract at once; see dialects.py."""
        file = self.folder / "spells" / "dialects"
        file.touch()
        try:
            yield
        finally:
            file.unlink()

    def stopped(self, service: str) -> Member | None:
        """The service's process that is frozen."""
        for member in self.members.values():
            alive = member.service == service and member.process.poll() is None
            if alive and psutil.Process(member.process.pid).status() == psutil.STATUS_STOPPED:
                return member
        return None

    def log_of(self, name: str) -> Path:
        """Where the processes of a name write."""
        return self.folder / "logs" / f"{name}.log"

    def said(self, name: str) -> str:
        """All that the process of this name has written."""
        with self.log_of(name).open("rb") as log:
            log.seek(self.members[name].began)
            return log.read().decode(errors="replace")

    def told(self, name: str) -> str:
        """The end of it."""
        return self.said(name)[-3000:]

    def stop_database(self, number: signal.Signals) -> None:
        """Ends PostgreSQL's process by a signal: asked to (SIGINT), at once (SIGQUIT), or killed (SIGKILL)."""
        assert self._postgres.pid is not None
        os.kill(self._postgres.pid, number)
        until(lambda: self._postgres.pid is None, 10, "PostgreSQL's end")

    def start_database(self) -> None:
        """Starts it again, where it was; it recovers what it has to first."""
        assert self.run(self._postgres.start()) == self.database_url

    # -- asking -------------------------------------------------------------------------------------------------------

    def channel(self, service: str) -> grpc.Channel:
        """A channel to the first process of a service."""
        port = self.ports[service]
        if port not in self._channels:
            options = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))
            self._channels[port] = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
        return self._channels[port]

    @property
    def trading(self) -> TradingServiceStub:
        """TradingService."""
        return TradingServiceStub(self.channel("trading"))

    @property
    def strategies(self) -> StrategyServiceStub:
        """StrategyService."""
        return StrategyServiceStub(self.channel("strategy"))

    def market_time(self) -> float:
        """Market time, seconds since the epoch."""
        market = MarketDataServiceStub(self.channel("marketdata"))
        answer = self.patiently(lambda: market.GetMarketStatus(GetMarketStatusRequest(), timeout=5))
        return float(answer.market_time.ToNanoseconds() / 1e9)

    def status(self) -> Sequence[ServiceStatus]:
        """What OpsService says of every service."""
        return OpsServiceStub(self.channel("ops")).GetStatus(GetStatusRequest(), timeout=10).services

    def hindered(self) -> Mapping[str, str]:
        """The services that don't serve, and why."""
        try:
            return {one.service: one.last_error for one in self.status() if one.state != 2}
        except grpc.RpcError as error:
            return {"ops": str(error)}

    def fetch(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        """Rows of the database, around the proxy."""

        async def asked() -> list[dict[str, Any]]:
            url = make_url(self.database_url).set(drivername="postgresql")
            connection = await asyncpg.connect(url.render_as_string(hide_password=False))
            try:
                return [dict(row) for row in await connection.fetch(query, *arguments)]
            finally:
                await connection.close()

        return self.run(asked())

    @contextmanager
    def writes_held(self, table: str) -> Iterator[None]:
        """Meanwhile writes to a table wait; who reads it doesn't."""
        url = make_url(self.database_url).set(drivername="postgresql")
        connection = self.run(asyncpg.connect(url.render_as_string(hide_password=False)))
        try:
            self.run(connection.execute(f"BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE"))
            yield
        finally:
            self.run(connection.close())

    def count(self, what: str) -> int:
        """How many rows: `count("trading.orders")`."""
        return int(self.fetch(f"SELECT count(*) AS n FROM {what}")[0]["n"])

    # -- load ---------------------------------------------------------------------------------------------------------

    def trade(self, name: str, *, cycle: int, every: int = 1, **more: Any) -> None:
        """Creates a pulse strategy and starts it."""
        create, start = create_and_start(name, **more)
        create.strategy_type = "pulse"
        create.parameters.clear()
        create.parameters.update({"every": str(every), "cycle": str(cycle)})
        self.patiently(lambda: self.strategies.CreateStrategy(create, timeout=5))
        self.patiently(lambda: self.strategies.StartStrategy(start, timeout=5))

    def stop_trading(self) -> None:
        """Stops every strategy."""
        wanted = strategy.ListStrategiesRequest(state="STRATEGY_STATE_RUNNING")
        for one in self.patiently(lambda: self.strategies.ListStrategies(wanted, timeout=5)).strategies:
            request = strategy.StopStrategyRequest(
                request_id=f"stop-{one.strategy_id}-{one.revision}", strategy_id=one.strategy_id
            )
            self.patiently(lambda request=request: self.strategies.StopStrategy(request, timeout=5))

    def patiently(self, call: Any, seconds: float = UP_SECONDS) -> Any:
        """The answer to an RPC, sent again while nobody answers: commands carry their request_id."""
        passing = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}

        def answered() -> tuple[Any] | None:
            try:
                return (call(),)
            except grpc.RpcError as error:
                if error.code() not in passing:
                    raise
                return None

        (answer,) = until(answered, seconds, "an answer")
        return answer

    def wait_for_orders(self, count: int, seconds: float = 60.0) -> None:
        """Returns once that many orders are stored."""
        until(lambda: self.count("trading.orders") >= count, seconds, f"{count} orders")

    # -- at rest ------------------------------------------------------------------------------------------------------

    def come_to_rest(self, seconds: float = QUIET_SECONDS) -> None:
        """Stops the strategies and waits until nothing is in work; what is dead has to be started before."""
        self.stop_trading()
        try:
            until(lambda: not self.work() and not self.work(), seconds, "rest")
        except AssertionError as busy:
            busy.add_note(f"left: {self.work()}; hindered: {self.hindered()}")
            raise

    def work(self) -> Mapping[str, int]:
        """What isn't done yet, by kind."""
        left = {
            f"{schema}.outbox": self.count(f"{schema}.outbox WHERE published_at IS NULL")
            for schema in ("strategy", "risk", "trading", "portfolio")
        }
        left["open orders"] = self.count(f"trading.orders WHERE status IN ({OPEN})")
        left["reservations"] = self.count("risk.positions WHERE open_signal_id IS NOT NULL")
        for group in GROUPS:
            left[f"lag of {group}"] = self.lag(group)
        return {what: count for what, count in left.items() if count}

    def lag(self, group: str) -> int:
        """How many records a consumer group has not committed."""
        return self.run(self._lag(group, GROUPS[group]))

    async def _lag(self, group: str, payloads: Sequence[str]) -> int:
        ends = await self.log.end_offsets(TopicMap(BROKERS).topics(*payloads))
        committed = await self.log.committed_offsets(group)
        return sum(end - committed.get(at, 0) for at, end in ends.items())

    def evidence(self) -> Evidence:
        """Everything there is, read around the services, once every account's snapshot is on the log."""

        def read() -> Evidence | None:
            found = Evidence(TopicMap(BROKERS), malformed=self.malformed, read=self._read)
            self.run(gather_evidence(found, self.database_url, self.log))
            return None if found.unpublished else found

        whole: Evidence = until(read, PUBLISHED_WITHIN, "everything published")
        return whole
