"""GetStatus over a real server: every service answered for, whatever state its parts are in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from alphapanda.contract.topics import TopicMap
from alphapanda.domain.consumer_status import ConsumerStatus
from alphapanda.mesh.server import MeshServer
from alphapanda.ops.api import OpsServicer
from alphapanda.ops.core import BrokerReport, LastError, ServiceState
from alphapanda.ops.health import HealthWatch
from alphapanda.ops.log_api import LogApi
from alphapanda.ops.source import RunningService
from panda.ops.v1 import ops_pb2 as pb
from panda.ops.v1 import ops_pb2_grpc

STARTED = datetime(2026, 1, 5, 3, 45, tzinfo=UTC)
MARKET = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
OPS = "panda.ops.v1.OpsService"


class Reader:
    """A reader of the log whose state a test sets."""

    name = "risk.signals"

    def __init__(self) -> None:
        self.serving = True
        self.statuses: Sequence[ConsumerStatus] = (
            ConsumerStatus("risk.signals", "paper", processed=7, failed=2, retried=1, dead_lettered=1),
        )

    def status(self) -> list[ConsumerStatus]:
        return list(self.statuses)

    async def lag(self) -> dict[str, int]:
        return {"paper": 3}


class Relay:
    """A relay whose state a test sets."""

    def __init__(self) -> None:
        self.serving = True
        self.last_error = ""
        self.answer: asyncio.Future[int] | Exception | int = 4

    async def pending(self) -> int:
        if isinstance(self.answer, Exception):
            raise self.answer
        return await self.answer if isinstance(self.answer, asyncio.Future) else self.answer


class System:
    """Two services behind an OpsService."""

    def __init__(self) -> None:
        self.reader, self.relay = Reader(), Relay()
        self.lifecycle = ServiceState.SERVING
        self.now = STARTED
        self.risk = RunningService(
            "risk",
            lambda: self.lifecycle,
            lambda: self.now,
            [self.reader],
            self.relay,
            lambda: [BrokerReport("paper", "on", "simulated")],
            lambda: {"signals": 9},
        )
        instruments = RunningService("instruments", lambda: ServiceState.SERVING, lambda: self.now)
        self.market_time = MARKET
        self.server = MeshServer(
            "127.0.0.1",
            0,
            [
                partial(
                    ops_pb2_grpc.add_OpsServiceServicer_to_server,
                    OpsServicer(
                        [instruments, self.risk],
                        "1.2.3",
                        STARTED,
                        self._clock,
                        LogApi(None, TopicMap(("paper",)), {}),
                        timeout_seconds=0.2,
                    ),
                )
            ],
            structlog.get_logger(),
        )

    async def _clock(self) -> datetime | None:
        if isinstance(self.market_time, Exception):
            raise self.market_time
        return self.market_time


@pytest.fixture
async def system() -> AsyncIterator[System]:
    """At work; stopped at the end."""
    system = System()
    system.port = await system.server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{system.port}") as system.channel:
        system.get_status = ops_pb2_grpc.OpsServiceStub(system.channel).GetStatus
        yield system
    await system.server.stop(1.0)


async def test_everything_is_told(system) -> None:
    """State, consumers, brokers, outbox and counters of each service, in the order of the flow, with both times."""
    answer = await system.get_status(pb.GetStatusRequest())
    assert [service.service for service in answer.services] == ["instruments", "risk"]
    risk = answer.services[1]
    assert risk.state == pb.SERVICE_STATE_SERVING
    (consumer,) = risk.consumers
    assert (consumer.consumer, consumer.broker, consumer.lag) == ("risk.signals", "paper", 3)
    assert (consumer.processed, consumer.failed, consumer.retried, consumer.dead_lettered) == (7, 2, 1, 1)
    assert (risk.brokers[0].broker, risk.brokers[0].mode) == ("paper", "on")
    assert (risk.outbox_unpublished, dict(risk.counters)) == (4, {"signals": 9})
    assert answer.version == "1.2.3"
    assert answer.started_at.ToDatetime(UTC) == STARTED
    assert answer.market_time.ToDatetime(UTC) == MARKET


async def test_one_service_can_be_asked_for(system) -> None:
    """The filter takes a service's name, and refuses another with the nearest one."""
    answer = await system.get_status(pb.GetStatusRequest(service="risk"))
    assert [service.service for service in answer.services] == ["risk"]
    with pytest.raises(grpc.aio.AioRpcError, match="did you mean 'risk'"):
        await system.get_status(pb.GetStatusRequest(service="risc"))


async def test_a_paused_partition_is_not_serving(system) -> None:
    """A service whose consumer stands still says where and why."""
    error = ("ValueError: no", STARTED)
    system.reader.serving = False
    system.reader.statuses = [
        ConsumerStatus(
            "risk.signals", "paper", paused=("t/0@5",), last_error=error[0], last_error_at=error[1]
        )
    ]
    risk = (await system.get_status(pb.GetStatusRequest(service="risk"))).services[0]
    assert risk.state == pb.SERVICE_STATE_NOT_SERVING
    assert risk.last_error == "risk.signals: ValueError: no"
    assert list(risk.consumers[0].paused) == ["t/0@5"]


async def test_an_error_that_is_over_says_so_and_when_it_was(system) -> None:
    """A green service with an old error has the error's time and that it is over."""
    system.reader.statuses = [
        ConsumerStatus("risk.signals", "paper", last_error="TimeoutError: no answer", last_error_at=STARTED)
    ]
    risk = (await system.get_status(pb.GetStatusRequest(service="risk"))).services[0]
    assert risk.state == pb.SERVICE_STATE_SERVING
    assert (risk.last_error, risk.last_error_over) == ("TimeoutError: no answer", True)
    assert risk.last_error_at.ToDatetime(tzinfo=UTC) == STARTED


async def test_an_error_that_lasts_says_since_when(system) -> None:
    """While a service fails, its error's time is when that began; the next failure has a time of its own."""
    system.reader.serving = False
    for minutes in (0, 5):
        system.now = STARTED + timedelta(minutes=minutes)
        risk = (await system.get_status(pb.GetStatusRequest(service="risk"))).services[0]
        assert (risk.last_error_at.ToDatetime(tzinfo=UTC), risk.last_error_over) == (STARTED, False)
    system.reader.serving = True
    await system.get_status(pb.GetStatusRequest(service="risk"))
    system.reader.serving = False
    risk = (await system.get_status(pb.GetStatusRequest(service="risk"))).services[0]
    assert risk.last_error_at.ToDatetime(tzinfo=UTC) == system.now


@pytest.mark.parametrize("trouble", ["fails", "hangs"])
async def test_a_service_that_cannot_say_does_not_silence_the_others(system, trouble) -> None:
    """Where the database is away or doesn't answer, the service is NOT_SERVING and the rest is told as ever."""
    system.relay.answer = (
        ConnectionRefusedError(111, "refused")
        if trouble == "fails"
        else asyncio.get_running_loop().create_future()
    )
    instruments, risk = (await system.get_status(pb.GetStatusRequest(), timeout=3)).services
    assert instruments.state == pb.SERVICE_STATE_SERVING
    assert risk.state == pb.SERVICE_STATE_NOT_SERVING
    assert ("refused" if trouble == "fails" else "no status report within") in risk.last_error


@pytest.mark.parametrize("unknown", [None, ConnectionError("redis is away")])
async def test_an_unknown_market_time_is_absent(system, unknown) -> None:
    """Where market time isn't known, or can't be read, the answer has none."""
    system.market_time = unknown
    assert not (await system.get_status(pb.GetStatusRequest())).HasField("market_time")


async def test_health_follows_the_parts(system) -> None:
    """The health of gRPC goes down with a stuck consumer, and comes back with it."""
    health = health_pb2_grpc.HealthStub(system.channel)
    watch = HealthWatch({OPS: system.risk}, system.server.set_serving, interval_seconds=0.02)

    async def becomes(status: int) -> None:
        async with asyncio.timeout(20):
            async for told in health.Watch(health_pb2.HealthCheckRequest(service=OPS)):
                if told.status == status:
                    return

    await watch.start()
    await becomes(health_pb2.HealthCheckResponse.SERVING)
    system.reader.serving = False
    await becomes(health_pb2.HealthCheckResponse.NOT_SERVING)
    system.reader.serving = True
    await becomes(health_pb2.HealthCheckResponse.SERVING)
    await watch.stop()


class Away:
    """A check whose dependency is away."""

    name = "database"
    serving = False
    last_error = "ConnectionResetError"


async def test_what_is_away_is_named_before_what_fails_without_it() -> None:
    """A service that can't even count its rows says which dependency is away, not what failed because of it."""
    reader, relay = Reader(), Relay()
    reader.serving = relay.serving = False
    relay.answer = OSError("connection reset")
    service = RunningService(
        "risk", lambda: ServiceState.SERVING, lambda: STARTED, readers=[reader], relay=relay, checks=[Away()]
    )
    report = await service.status()
    assert report.state is ServiceState.NOT_SERVING
    assert report.last_error == LastError("database: ConnectionResetError", STARTED)
    assert service.not_serving_reason == report.last_error.text
