"""What the tests stand on: real PostgreSQL, Redis, Kafka and grpcurl, and the recorded NSE sessions.

Everything started here is stopped by its own handle when the session ends; nothing outlives it.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import os
import queue
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import grpc
import kafka_server
import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from hypothesis import HealthCheck, settings
from kafka_server import Guard, KafkaServer, missing_for_kafka
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from redis import Redis
from sqlalchemy import make_url
from tests import workers
from tests.databases import Copies, Emptied, own_loop
from tests.e2e import prepared_cluster
from typing_extensions import override

from alphapanda.embedded import postgres
from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.postgres_programs import DATABASE
from alphapanda.embedded.redis import EmbeddedRedis

gc.disable()  # until pytest_collection_finish
ROOT = Path(__file__).resolve().parents[1]
UNDER_CI = os.environ.get("CI") == "true"
NSE_DATA = os.environ.get("ALPHAPANDA_TEST_NSE_DATA")

# A cluster, a database and a topic are thousands of small files that end with their test: in memory they take a
# fraction of the time. Where there is little of it, or TMPDIR says where, they are on disk.
IN_MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 4 * 2**30
if (
    "TMPDIR" not in os.environ
    and IN_MEMORY.is_dir()
    and not os.statvfs(IN_MEMORY).f_flag & os.ST_NOEXEC
    and min(shutil.disk_usage(IN_MEMORY).free, psutil.virtual_memory().available // 2) > ENOUGH_BYTES
):
    os.environ["TMPDIR"] = str(IN_MEMORY)
    tempfile.tempdir = None

if workers.WORKER:  # one of several: what it leaves, files and processes, is told by this folder
    os.environ["TMPDIR"] = str(workers.folder_of(workers.RUN, workers.WORKER))
    Path(os.environ["TMPDIR"]).mkdir(mode=0o711, exist_ok=True)  # who isn't root may pass
    tempfile.tempdir = None
    kafka_server.PORTS = workers.own_ports(kafka_server.PORTS)

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

os.environ[prepared_cluster.SHARED] = str(workers.prepared_folder())

# A developer's own settings and imported instruments must not reach the tests, nor the processes they start.
for name in [name for name in os.environ if name.startswith("ALPHAPANDA_")]:
    del os.environ[name]
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="panda-")
atexit.register(shutil.rmtree, os.environ["XDG_DATA_HOME"], ignore_errors=True)

# Nor must the tests, and the processes they start, write to a developer's usual data directory.
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="panda-home-")
atexit.register(shutil.rmtree, os.environ["XDG_DATA_HOME"], ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `make test` can be told besides pytest's own options."""
    parser.addoption("--keep-durations", action="store_true", help=f"write {workers.DURATIONS.name} anew")


def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end, so that nobody looks through it for garbage, now or later."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Side by side, the units are ours."""
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(workers.Worker())
    elif config.getoption("dist") != "no":
        config.pluginmanager.register(workers.Controller())


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def require_or_skip() -> Callable[[str], NoReturn]:
    """What to call where a tool is missing: skips on a desk, fails under CI=true."""

    def missing(reason: str) -> NoReturn:
        if UNDER_CI:
            pytest.fail(f"under CI=true nothing may be missing: {reason}")
        pytest.skip(reason)

    return missing


@pytest.fixture(scope="session")
def nse_data() -> Path:
    """The folder with the recorded NSE sessions; skips where there is none, fails where it was named in vain."""
    if NSE_DATA:
        folder = Path(NSE_DATA)
        if not folder.is_dir():
            pytest.fail(f"ALPHAPANDA_TEST_NSE_DATA={NSE_DATA} is not a folder")
        return folder
    folder = ROOT.parent / "shared" / "data" / "nse"
    if not folder.is_dir():
        pytest.skip(f"NO NSE RECORDINGS: neither ALPHAPANDA_TEST_NSE_DATA nor {folder} is there")
    return folder


@pytest.fixture(scope="session")
def grpcurl(require_or_skip: Callable[[str], NoReturn]) -> Path:
    """The grpcurl binary that `make grpcurl` builds."""
    binary = ROOT / ".tools" / "bin" / "grpcurl"
    if not binary.is_file():
        require_or_skip("NO GRPCURL: install Go and run `make grpcurl`")
    return binary


@pytest.fixture(scope="session")
def data_directory() -> Iterator[Path]:
    """A locked data directory for this session's servers; gone at its end."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        directory = DataDirectory(Path(folder))
        directory.acquire(datetime.now(tz=UTC))
        try:
            yield directory.path
        finally:
            directory.release()


@pytest.fixture(scope="session")
def postgres_dsn(data_directory: Path) -> Iterator[str]:
    """A PostgreSQL of this session's own; yields asyncpg's DSN of a database that no test uses (on a Unix socket)."""
    prepared_cluster.copy_to(data_directory)
    server = EmbeddedPostgres(data_directory)
    with own_loop() as loop:
        with pytest.MonkeyPatch.context() as patch:
            # Its data ends with the session: durability would only cost time, and so would cleaning up after each test.
            for name in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
                patch.setitem(postgres.SETTINGS, name, "off")
            url = make_url(loop.run(server.start()))
        try:
            yield url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
        finally:
            loop.run(server.stop())


@pytest.fixture(scope="session")
def copies(postgres_dsn: str) -> Iterator[Copies]:
    """Makes databases for tests."""
    made = Copies(postgres_dsn)
    yield made
    made.close()


@pytest.fixture
def database(copies: Copies) -> Iterator[str]:
    """An empty database for one test; yields its SQLAlchemy URL, `postgresql+asyncpg://…`."""
    yield from copies.of("template1")


@pytest.fixture(scope="session")
def _schema(postgres_dsn: str) -> str:
    """The name of a database that is up to date, for others to be copied from; nobody is connected to it."""
    return DATABASE


@pytest.fixture(scope="session")
def _emptied(postgres_dsn: str, copies: Copies, _schema: str) -> Iterator[Emptied]:
    """Databases with every table, used again."""
    made = Emptied(postgres_dsn, copies, _schema)
    yield made
    made.close()


@pytest.fixture
def tables(_emptied: Emptied) -> Iterator[str]:
    """A database with every table, all of them empty, for one test; yields its SQLAlchemy URL."""
    yield from _emptied.one()


@pytest.fixture(scope="session")
def redis_server(data_directory: Path) -> Iterator[str]:
    """A Redis of this session's own; yields its URL, `unix://…`. Tests ask for `redis_url`, which is empty."""
    server = EmbeddedRedis(data_directory)
    with own_loop() as loop:
        url = loop.run(server.start())
        try:
            yield url
        finally:
            loop.run(server.stop())


@pytest.fixture(scope="session")
def _redis(redis_server: str) -> Iterator[Redis]:
    """A connection that stays: a new one takes longer than emptying Redis over it."""
    with Redis.from_url(redis_server) as client:
        yield client


@pytest.fixture
def redis_url(redis_server: str, _redis: Redis) -> str:
    """The URL of an empty Redis, for `redis.asyncio.Redis.from_url`."""
    _redis.flushall()
    return redis_server


@pytest.fixture(scope="session")
def start_kafka(
    require_or_skip: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., KafkaServer]]:
    """Starts a Kafka of one's own, to be killed or paused, guarded or not; it ends with the unit at the latest."""
    if (reason := missing_for_kafka()) is not None:
        require_or_skip(reason)
    servers: list[KafkaServer] = []

    def stop() -> None:
        while servers:
            servers.pop().stop()

    def start(guard: Guard | None = None) -> KafkaServer:
        # Records carry the tests' clocks, so retention by real time would take them away.
        never = str(10**12)
        server = KafkaServer(
            tmp_path_factory.mktemp("kafka"),
            guard,
            log_initial_task_delay_ms=never,
            log_retention_check_interval_ms=never,
        )
        servers.append(server)
        workers.end_with_the_unit(stop)
        server.start()
        return server

    yield start
    stop()


class Collector(MetricsServiceServicer):
    """Takes the figures that are delivered."""

    def __init__(self) -> None:
        self.taken: queue.Queue[ExportMetricsServiceRequest] = queue.Queue()

    @override
    def Export(self, request: ExportMetricsServiceRequest, context: object) -> ExportMetricsServiceResponse:
        self.taken.put(request)
        return ExportMetricsServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    """A collector of figures, and where it answers."""
    server, servicer = grpc.server(ThreadPoolExecutor(1)), Collector()
    add_MetricsServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"http://127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(scope="session")
def _shared_kafka(start_kafka: Callable[[], KafkaServer]) -> Callable[[], str]:
    running: list[KafkaServer] = []

    def bootstrap() -> str:
        if not running or running[-1].pid is None:
            running.append(start_kafka())
        return running[-1].bootstrap

    return bootstrap


@pytest.fixture
def kafka(_shared_kafka: Callable[[], str]) -> Iterator[str]:
    """A Kafka without topics; `host:port`. It is the unit's; topics made in a test end with it."""
    bootstrap = _shared_kafka()
    yield bootstrap
    with own_loop() as loop:
        loop.run(_remove_topics(bootstrap))


async def _remove_topics(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        async with asyncio.timeout(60):  # their removal is begun by Kafka, not done, when it answers
            while left := [name for name in await admin.list_topics() if not name.startswith("__")]:
                await admin.delete_topics(left)
                await asyncio.sleep(0.05)
    finally:
        await admin.close()
