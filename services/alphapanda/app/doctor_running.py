"""Checks a running `alphapanda up` by asking it: its services, and the PostgreSQL and Redis that it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from alphapanda.app.doctor_tls import connection_findings
from alphapanda.app.findings import Finding, Outcome, fail, found, ok, warn
from alphapanda.app.security import UNSECURED, ProcessSecurity
from alphapanda.contract.wire import moment
from alphapanda.mesh.channel import open_channel
from panda.ops.v1.ops_pb2 import (
    SERVICE_STATE_SERVING,
    GetStatusRequest,
    GetStatusResponse,
    ServerStatus,
    ServiceState,
    ServiceStatus,
)
from panda.ops.v1.ops_pb2_grpc import OpsServiceStub

OPS_SERVICE: Final = "panda.ops.v1.OpsService"
STATUS_SECONDS: Final = 5.0
CHECKED_AS: Final = {"PostgreSQL": "database: ", "Redis": "redis: "}
"""How a service's last error begins where a server doesn't answer it."""


async def running_findings(
    host: str, port: int | None, pid: int | None, security: ProcessSecurity = UNSECURED
) -> list[Finding]:
    """Asks the platform that holds the data directory for its state, which each service finds out by asking its stores.

    Args:
        host: where it answers.
        port: its port; None where unknown.
        pid: its process; None where unknown.
        security: how to connect.
    """
    process = f"process {pid or '?'}, which holds the data directory,"
    if port is None:
        return [warn("services", f"{process} doesn't say at which port it answers", "look at its log")]
    at = f"{host}:{port}"

    async def check() -> list[Finding]:
        async with open_channel(at, [OPS_SERVICE], security=security.own) as channel:
            status = await OpsServiceStub(channel).GetStatus(GetStatusRequest(), timeout=STATUS_SECONDS)
        return status_findings(status)

    remedy = f"{process} doesn't answer at {at}: look at its log, or stop it and start it again"
    findings = await found("services", check, remedy, STATUS_SECONDS)
    if all(finding.outcome is Outcome.OK for finding in findings):
        return findings
    return await connection_findings("services", at, security.own) or findings


def status_findings(status: GetStatusResponse) -> list[Finding]:
    """Finds what a platform's own report says is wrong."""
    errors = [one.last_error for one in status.services if one.state != SERVICE_STATE_SERVING]
    return [*(_of_server(server, errors) for server in status.servers), *map(_of_service, status.services)]


def _of_server(server: ServerStatus, errors: Sequence[str]) -> Finding:
    if server.state != SERVICE_STATE_SERVING:
        return fail(
            server.server,
            server.last_error or "doesn't serve",
            "it is being started again; where that fails, its log in the data directory says why",
        )
    prefix = CHECKED_AS.get(server.server)
    if prefix and (error := next((error for error in errors if error.startswith(prefix)), "")):
        return fail(
            server.server,
            f"runs, but services say: {error.removeprefix(prefix)}",
            "its log in the data directory says more; a process that hangs may be killed: it is started again",
        )
    if server.restarts:
        at = moment(server.last_error_at)
        reason = f"serves; was restarted {server.restarts:,} times, last at {at:%d %b %H:%M:%S} UTC: {server.last_error}"
        return warn(server.server, reason, "look for what ended it, such as too little memory")
    return ok(server.server, "serves")


def _of_service(service: ServiceStatus) -> Finding:
    name = f"service {service.service}"
    if service.state == SERVICE_STATE_SERVING:
        return ok(name, "serves")
    state = ServiceState.Name(service.state).removeprefix("SERVICE_STATE_").lower().replace("_", " ")
    reason = f"{state}: {service.last_error}" if service.last_error else state
    return fail(name, reason, "`alphapanda status` says more; the log has each error")
