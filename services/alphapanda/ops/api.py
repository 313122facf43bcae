"""The servicer of OpsService. GetStatus answers even while some services don't."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from alphapanda.contract.wire import timestamp
from alphapanda.domain.errors import UnknownName
from alphapanda.ops.audit_api import AuditApi
from alphapanda.ops.backups import Backups
from alphapanda.ops.core import ServiceReport, unanswered
from alphapanda.ops.day_cycle import DayCycle
from alphapanda.ops.lag_watch import LagWatch
from alphapanda.ops.log_api import LogApi
from alphapanda.ops.source import RunServer, StatusSource
from alphapanda.resilience.failures import in_one_line
from panda.ops.v1 import ops_pb2 as pb
from panda.ops.v1 import ops_pb2_grpc

if TYPE_CHECKING:
    import grpc

    Context = grpc.aio.ServicerContext[pb.GetStatusRequest, Awaitable[pb.GetStatusResponse]]


class OpsServicer(ops_pb2_grpc.OpsServiceServicer):
    """Answers OpsService from the status reports of the services and from the log.

    Args:
        sources: the services, in the order of the data flow.
        version: version of the program.
        started_at: wall time of the start, aware.
        market_time: returns market time now; None where unknown.
        log_api: answers about dead letters, lag and records.
        lag_watch: watches the groups' lag; None where another process does that.
        servers: servers that this process runs.
        backups: writes backups of this process's data directory.
        notices: returns what a person should know soon, in sentences.
        audit: answers about the audit; None where there is none.
        day_cycle: the steps of the exchange's day; None where another process has them, or no live broker is enabled.
        timeout_seconds: a service that doesn't report within this time is NOT_SERVING in the answer.
    """

    def __init__(
        self,
        sources: Sequence[StatusSource],
        version: str,
        started_at: datetime,
        market_time: Callable[[], Coroutine[Any, Any, datetime | None]],
        log_api: LogApi,
        lag_watch: LagWatch | None = None,
        servers: Sequence[RunServer] = (),
        backups: Backups | None = None,
        notices: Callable[[], Sequence[str]] = lambda: (),
        audit: AuditApi | None = None,
        day_cycle: DayCycle | None = None,
        timeout_seconds: float = 2.0,
    ) -> None:
        self._audit = audit
        self._day_cycle = day_cycle
        self._backups = backups or Backups(None)
        self._sources = {source.service: source for source in sources}
        self._version = version
        self._started_at = started_at
        self._market_time = market_time
        self._log = log_api
        self._lag_watch = lag_watch
        self._servers = servers
        self._notices = notices
        self._timeout = timeout_seconds

    @override
    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        """Returns state, consumers and errors, by service and broker.

        Raises:
            UnknownName: no service of that name runs here.
        """
        if request.service and request.service not in self._sources:
            raise UnknownName("service", request.service, self._sources)
        names = [request.service] if request.service else list(self._sources)
        asked = {name: asyncio.ensure_future(self._sources[name].status()) for name in names}
        clock = asyncio.ensure_future(self._market_time())
        try:
            await asyncio.wait([*asked.values(), clock], timeout=self._timeout)
            reports = [_report_of(name, task, self._timeout) for name, task in asked.items()]
            known = clock.done() and clock.exception() is None
            market_time = clock.result() if known else None
        finally:
            for task in (*asked.values(), clock):
                task.cancel()
        day, steps = self._day_cycle.messages() if self._day_cycle is not None else ("", ())
        return pb.GetStatusResponse(
            services=[service_status(report) for report in reports],
            version=self._version,
            started_at=timestamp(self._started_at),
            market_time=timestamp(market_time),
            lag_alarms=_lag_alarms(self._lag_watch),
            servers=[server_status(server) for server in self._servers],
            notices=self._notices(),
            day_steps=steps,
            trading_day=day if steps else "",
        )

    @override
    async def ListDeadLetters(
        self, request: pb.ListDeadLettersRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListDeadLettersResponse:
        """Returns a page of dead letters."""
        return await self._log.list_dead_letters(request)

    @override
    async def GetDeadLetter(
        self, request: pb.GetDeadLetterRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetDeadLetterResponse:
        """Returns one dead letter with its record."""
        return await self._log.get_dead_letter(request)

    @override
    async def RedriveDeadLetters(
        self, request: pb.RedriveDeadLettersRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RedriveDeadLettersResponse:
        """StatusStub the groups to handle their dead letters again."""
        return await self._log.redrive(request)

    @override
    async def DiscardDeadLetters(
        self, request: pb.DiscardDeadLettersRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.DiscardDeadLettersResponse:
        """Discards dead letters; ends parked signals with a terminal event."""
        return await self._log.discard(request)

    @override
    async def CreateBackup(
        self, request: pb.CreateBackupRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CreateBackupResponse:
        """Writes a backup of this process's data directory."""
        written = await self._backups.create(request.request_id, Path(request.folder))
        return pb.CreateBackupResponse(
            folder=str(written.folder), bytes=written.size, taken_at=timestamp(written.taken_at)
        )

    @override
    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListAuditEntriesResponse:
        """Returns a page of the audit."""
        return pb.ListAuditEntriesResponse() if self._audit is None else await self._audit.list(request)

    @override
    async def ListConsumerLag(
        self, request: pb.ListConsumerLagRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListConsumerLagResponse:
        """Returns a page of the groups' lag."""
        return await self._log.list_lag(request)

    @override
    async def SearchRecords(
        self, request: pb.SearchRecordsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.SearchRecordsResponse:
        """Returns the records of the log that name an id."""
        return await self._log.search_records(request)

    @override
    async def TailTopic(
        self, request: pb.TailTopicRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.TailTopicResponse]:
        """Streams a topic's records."""
        async for answer in self._log.tail(request):
            yield answer


def _report_of(service: str, task: asyncio.Future[ServiceReport], timeout: float) -> ServiceReport:
    if not task.done():
        return unanswered(service, f"no status report within {timeout:g} s")
    error = task.exception()
    return task.result() if error is None else unanswered(service, in_one_line(error))


def _lag_alarms(watch: LagWatch | None) -> list[pb.LagAlarm]:
    if watch is None:
        return []
    return [
        pb.LagAlarm(
            group=alarm.behind.group,
            topic=alarm.behind.topic,
            broker=alarm.behind.broker,
            lag=alarm.behind.lag,
            allowed=watch.allowed,
            since=timestamp(alarm.since),
        )
        for alarm in watch.alarms
    ]


def server_status(server: RunServer) -> pb.ServerStatus:
    """Converts the state of a server to its message."""
    return pb.ServerStatus(
        server=server.name,
        state=pb.SERVICE_STATE_SERVING if server.serving else pb.SERVICE_STATE_NOT_SERVING,
        restarts=server.restarts,
        last_error=server.last_error or server.ended_because,
        last_error_at=timestamp(server.ended_at),
    )


def service_status(report: ServiceReport) -> pb.ServiceStatus:
    """Converts a report to its message."""
    return pb.ServiceStatus(
        service=report.service,
        state=pb.ServiceState.ValueType(report.state),
        consumers=[
            pb.ConsumerStatus(
                consumer=consumer.consumer,
                broker=consumer.broker,
                processed=consumer.processed,
                dead_lettered=consumer.dead_lettered,
                failed=consumer.failed,
                retried=consumer.retried,
                paused=consumer.paused,
                lag=consumer.lag,
                last_error=consumer.last_error,
                last_error_at=timestamp(consumer.last_error_at),
                parked=consumer.parked,
            )
            for consumer in report.consumers
        ],
        brokers=[
            pb.BrokerStatus(broker=broker.broker, mode=broker.mode, detail=broker.detail)
            for broker in report.brokers
        ],
        outbox_unpublished=report.outbox_unpublished,
        last_error=report.last_error.text,
        last_error_at=timestamp(report.last_error.at),
        last_error_over=report.last_error.over,
        counters=report.counters,
    )
