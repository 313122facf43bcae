"""The gRPC server: one port, the contract's services, each handler guarded, health and reflection."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer
from structlog.typing import FilteringBoundLogger

from alphapanda.contract.method_policy import find_service, service_policies
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh import reflection
from alphapanda.mesh.admission import Admission
from alphapanda.mesh.bounded import bounded
from alphapanda.mesh.bounds import DEFAULT_BOUNDS, CallBounds
from alphapanda.mesh.effects import Effects
from alphapanda.mesh.gate import Gate
from alphapanda.mesh.guard import Guard
from alphapanda.mesh.health_port import LIVENESS, checks_alone
from alphapanda.mesh.health_port import OPTIONS as HEALTH_OPTIONS
from alphapanda.mesh.loopback import is_loopback
from alphapanda.mesh.recording import Trail
from alphapanda.mesh.server_security import LOOPBACK_ONLY, ServerSecurity
from alphapanda.mesh.tls import server_credentials
from alphapanda.telemetry.tracing import OFF, Tracer
from panda.options.v1 import options_pb2 as options

Registration = Callable[[grpc.aio.Server], None]
"""Adds one servicer: `partial(add_RiskServiceServicer_to_server, servicer)`."""

Handlers: TypeAlias = "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"

MEBIBYTE = 1024 * 1024
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),  # a second process on the port is an error: it must not share the port
    ("grpc.max_receive_message_length", 4 * MEBIBYTE),
    ("grpc.max_send_message_length", 16 * MEBIBYTE),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class PortInUse(Exception):
    """Another process listens there."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        super().__init__(
            f"{host}:{port} is in use; stop what listens there or choose another with --port (setting api.port)"
        )


class ReservedPort:
    """A free port, kept bound until the server takes it over.

    Args:
        host: address to bind.
    """

    def __init__(self, host: str) -> None:
        self._socket = socket.socket(_family(host))
        self._socket.bind((host, 0))
        self.number: int = self._socket.getsockname()[1]

    def release(self) -> None:
        """Frees the port; calling it again has no effect."""
        self._socket.close()


class _Collector:
    """Passed to the generated code in place of a server; keeps the handlers it is given."""

    def __init__(self) -> None:
        self.services: dict[str, Handlers] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Does nothing: these are the same handlers again."""

    def add_registered_method_handlers(self, service: str, handlers: Handlers) -> None:
        """Keeps a service's handlers by RPC name."""
        self.services[service] = handlers


class MeshServer:
    """Serves the contract's services on one port; without TLS and authentication on loopback only.

    Health: each service is NOT_SERVING until `set_serving`; the overall status ("") is SERVING while all of them are.

    Args:
        host: address to bind.
        port: port to bind; 0 takes a free one.
        registrations: one for each servicer.
        log: gets errors and slow calls.
        slow_call_seconds: a call that takes longer is logged.
        audit: gets commands; `log` where absent.
        before_binding: called just before the port is bound, to release a reserved one.
        bounds: most calls at once.
        trail: where commands are recorded; None: nowhere.
        security: TLS and who may call.
        tracer: returns the tracer of a service by its short name.
        health_port: answers health checks alone, in plaintext; 0: none.

    Raises:
        InvalidInput: the host isn't loopback, or an RPC lacks its options in the contract.
    """

    def __init__(
        self,
        host: str,
        port: int,
        registrations: Sequence[Registration],
        log: FilteringBoundLogger,
        slow_call_seconds: float = 0.5,
        audit: FilteringBoundLogger | None = None,
        before_binding: Callable[[], None] = lambda: None,
        bounds: CallBounds = DEFAULT_BOUNDS,
        trail: Trail | None = None,
        security: ServerSecurity = LOOPBACK_ONLY,
        tracer: Callable[[str], Tracer] = lambda _: OFF,
        health_port: int = 0,
    ) -> None:
        audit = audit or log
        if not is_loopback(host) and not security.serves_elsewhere:
            raise InvalidInput(
                "api.host",
                host,
                "127.0.0.1, ::1 or localhost without authentication and TLS: set auth.enabled, tls.certificate and tls.key"
                " to serve other machines",
            )
        self._host = host
        self._port = port
        self._before_binding = before_binding
        self._effects = Effects(audit)
        self._health = HealthServicer()
        self._health_port = health_port
        self._probed: grpc.aio.Server | None = None
        collector = _Collector()
        for register in registrations:
            register(cast("grpc.aio.Server", collector))
        self._serving = dict.fromkeys(collector.services, False)
        self._bounds = bounds
        self._security = security
        self._gate = Gate(bounds, log)
        self._guards = {
            service: {
                name: Guard(
                    policy,
                    handlers[name],
                    self._effects,
                    log,
                    audit,
                    slow_call_seconds,
                    self._gate,
                    security.access,
                    trail,
                    tracer(service.split(".")[1]),
                )
                for name, policy in service_policies(find_service(service)).items()
            }
            for service, handlers in collector.services.items()
        }
        self._server: grpc.aio.Server | None = None

    @property
    def admission(self) -> Admission:
        """The calls at work, and how many were refused."""
        return self._gate.admission

    @property
    def services(self) -> tuple[str, ...]:
        """Full names of the services, such as "panda.risk.v1.RiskService"."""
        return tuple(self._serving)

    @property
    def not_serving(self) -> tuple[str, ...]:
        """Full names of the services that don't serve now."""
        return tuple(service for service, serving in self._serving.items() if not serving)

    async def start(self) -> int:
        """Binds and listens; returns the bound port.

        Raises:
            PortInUse: another process listens there.
            InvalidInput: the host is no address of this machine, or the port of health checks is in use.
        """
        limits = (
            ("grpc.max_concurrent_streams", self._bounds.streams),
            ("grpc.max_allowed_incoming_connections", self._bounds.max_connections),
        )
        server = grpc.aio.server(options=(*OPTIONS, *limits, *self._age_limits()))
        for service, guards in self._guards.items():
            _add(server, service, {name: guard.handler for name, guard in guards.items()})
        for service, handlers in self._health_and_reflection().items():
            _add(
                server,
                service,
                {
                    name: bounded(
                        f"/{service}/{name}",
                        handler,
                        self._gate,
                        self._security.access,
                        self._demanded(service),
                    )
                    for name, handler in handlers.items()
                },
            )
        self._before_binding()
        probe_port(self._host, self._port)
        self._probe_health_port()
        try:
            bound = self._bind(server, _address(self._host, self._port))
        except RuntimeError:  # taken since the probe
            raise PortInUse(self._host, self._port) from None
        await self._publish_health()
        await server.start()
        self._server = server
        if self._health_port:
            await self._answer_probes()
        return bound

    def _probe_health_port(self) -> None:
        if not self._health_port:
            return
        try:
            probe_port(self._host, self._health_port)
        except PortInUse:
            raise InvalidInput(
                "api.health_port", self._health_port, f"a port of {self._host} that nothing listens on"
            ) from None

    async def _answer_probes(self) -> None:
        server = grpc.aio.server(options=HEALTH_OPTIONS)
        server.add_generic_rpc_handlers((checks_alone(self._health),))
        server.add_insecure_port(_address(self._host, self._health_port))
        await server.start()
        self._probed = server

    def _bind(self, server: grpc.aio.Server, address: str) -> int:
        tls = self._security.tls
        if tls is None:
            return server.add_insecure_port(address)
        required = self._security.client_certificates
        return server.add_secure_port(address, server_credentials(tls, client_certificates=required))

    def _age_limits(self) -> Sequence[tuple[str, int]]:
        """With TLS connections end after a while, so that a certificate that has expired or been replaced counts."""
        if self._security.tls is None:
            return ()
        age = int(1000 * self._security.connection_age_seconds)
        return (
            ("grpc.max_connection_age_ms", age),
            ("grpc.max_connection_age_grace_ms", max(age // 10, 1000)),
        )

    async def stop(self, grace: float) -> None:
        """Accepts no more calls; waits up to `grace` seconds for running ones, then as long for detached commands."""
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)
        await self._effects.drain(grace)
        if self._probed is not None:
            await self._probed.stop(None)
        self._server = None

    async def set_serving(self, service: str, serving: bool) -> None:
        """Sets a service's health (full name).

        Raises:
            InvalidInput: this server has no such service.
        """
        if service not in self._serving:
            raise InvalidInput("service", service, f"one of {', '.join(self._serving)}")
        if self._serving[service] != serving:
            self._serving[service] = serving
            await self._publish_health()

    def _health_and_reflection(self) -> Mapping[str, Handlers]:
        collector = _Collector()
        receiver = cast("grpc.aio.Server", collector)
        names = [
            *self._serving,
            health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
            *reflection.NAMES,
        ]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, receiver)
        if self._security.reflection != "off":
            servicer = ReflectionServicer(names, reflection.MethodsToo())
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, receiver)  # type: ignore[no-untyped-call]
            reflection.know_v1()
        return reflection.under_both_names(collector.services)

    def _demanded(self, service: str) -> int:
        """The permission that health and reflection need: health none, because who asks it has no token."""
        closed = service in reflection.NAMES and self._security.reflection == "authenticated"
        return options.PERMISSION_READ if closed else options.PERMISSION_PUBLIC

    async def _publish_health(self) -> None:
        status = health_pb2.HealthCheckResponse
        states = self._serving | {"": all(self._serving.values()), LIVENESS: True}
        for service, serving in states.items():
            await self._health.set(service, status.SERVING if serving else status.NOT_SERVING)


def probe_port(host: str, port: int) -> None:
    """Binds a port and lets it go again: finds one in use before anything is started, and says why, which gRPC doesn't.

    Raises:
        PortInUse: another process listens there.
        InvalidInput: the host is no address of this machine, or this process may not bind the port.
    """
    try:
        socket.create_server((host, port), family=_family(host)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host, port) from None
        allowed = f"an address and port this process may bind ({error.strerror})"
        raise InvalidInput("api.host", _address(host, port), allowed) from None


def _add(server: grpc.aio.Server, service: str, handlers: Handlers) -> None:
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {**handlers}),))
    server.add_registered_method_handlers(service, handlers)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
