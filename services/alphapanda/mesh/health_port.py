"""Health checks on a port of their own, without TLS and tokens, for who knows neither: Kubernetes' gRPC probes.

It only says whether a service serves. Only Check is there: a watch would hold a place that the next probe needs.
"""

from __future__ import annotations

from typing import Any, Final, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

LIVENESS: Final = "liveness"
"""Name that serves as long as the process answers, whatever its services say: not serving is no reason to kill it."""

OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 1024),
    ("grpc.max_metadata_size", 4096),
    ("grpc.max_concurrent_streams", 4),
    ("grpc.max_allowed_incoming_connections", 64),
    ("grpc.max_connection_age_ms", 60_000),
)
"""Options of its server: nobody who reaches it can hold more than these few."""

_HEALTH: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


def checks_alone(health: HealthServicer) -> grpc.GenericRpcHandler:
    """Returns the handler of Check, without Watch."""
    collected = _Handlers()
    health_pb2_grpc.add_HealthServicer_to_server(health, cast("grpc.aio.Server", collected))
    return grpc.method_handlers_generic_handler(_HEALTH, {"Check": collected.check})


class _Handlers:
    """Passed to the generated code in place of a server; keeps the handler of Check."""

    check: grpc.RpcMethodHandler[Any, Any]

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Does nothing: these are the same handlers again."""

    def add_registered_method_handlers(self, _service: str, handlers: Any) -> None:
        """Keeps the handler."""
        self.check = handlers["Check"]
