"""The status of a service in another process, from that process's OpsService."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Protocol

import grpc

from alphapanda.domain.consumer_status import ConsumerStatus
from alphapanda.mesh.status import describe_rpc_error
from alphapanda.ops.core import BrokerReport, LastError, ServiceReport, ServiceState, unanswered
from panda.ops.v1 import ops_pb2 as pb


class StatusStub(Protocol):
    """The part of an OpsServiceStub that is used."""

    def GetStatus(self, request: pb.GetStatusRequest, /) -> Awaitable[pb.GetStatusResponse]:  # noqa: N802 - the contract's name
        """Returns the status of services."""


class RemoteService:
    """A StatusSource over another process's OpsService.

    Args:
        service: its name, such as "risk".
        stub: OpsService of the service's process.
    """

    def __init__(self, service: str, stub: StatusStub) -> None:
        self.service = service
        self._stub = stub

    async def status(self) -> ServiceReport:
        """Returns its report; NOT_SERVING with the reason where it doesn't answer."""
        try:
            answer = await self._stub.GetStatus(pb.GetStatusRequest(service=self.service))
        except grpc.aio.AioRpcError as error:
            return unanswered(self.service, describe_rpc_error(error))
        return _report(answer.services[0])


def _report(status: pb.ServiceStatus) -> ServiceReport:
    return ServiceReport(
        service=status.service,
        state=ServiceState(status.state),
        consumers=tuple(_consumer(consumer) for consumer in status.consumers),
        brokers=tuple(BrokerReport(broker.broker, broker.mode, broker.detail) for broker in status.brokers),
        outbox_unpublished=status.outbox_unpublished,
        last_error=LastError(status.last_error, _moment(status), over=status.last_error_over),
        counters=dict(status.counters),
    )


def _moment(status: pb.ServiceStatus | pb.ConsumerStatus) -> datetime | None:
    return status.last_error_at.ToDatetime(tzinfo=UTC) if status.HasField("last_error_at") else None


def _consumer(status: pb.ConsumerStatus) -> ConsumerStatus:
    return ConsumerStatus(
        consumer=status.consumer,
        broker=status.broker,
        processed=status.processed,
        dead_lettered=status.dead_lettered,
        failed=status.failed,
        retried=status.retried,
        paused=tuple(status.paused),
        lag=status.lag,
        last_error=status.last_error,
        last_error_at=_moment(status),
        parked=status.parked,
    )
