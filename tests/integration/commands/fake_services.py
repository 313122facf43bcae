"""Servers that stand in for a platform's: as much of it as finding and following needs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from alphapanda.commands.finding import SERVICES
from panda.ops.v1 import ops_pb2, ops_pb2_grpc
from panda.strategy.v1 import strategy_pb2, strategy_pb2_grpc


class Strategies(strategy_pb2_grpc.StrategyServiceServicer):
    def ListStrategies(self, request, context):  # noqa: N802 - the contract's name
        return strategy_pb2.ListStrategiesResponse(strategies=[strategy_pb2.Strategy(strategy_id="found")])


class Ops(ops_pb2_grpc.OpsServiceServicer):
    def GetStatus(self, request, context):  # noqa: N802 - the contract's name
        serving = ops_pb2.SERVICE_STATE_SERVING
        return ops_pb2.GetStatusResponse(
            version="1", services=[ops_pb2.ServiceStatus(service=request.service or "all", state=serving)]
        )


class FakeServices:
    """Servers on loopback, by address."""

    def __init__(self) -> None:
        self._servers: dict[str, grpc.Server] = {}

    def start(self, *services: str, address: str = "127.0.0.1:0") -> str:
        """Starts a server of these services (of which strategy and ops answer); returns its address."""
        server = grpc.server(ThreadPoolExecutor(4))
        checks = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        for service in services:
            checks.set(SERVICES[service], health_pb2.HealthCheckResponse.SERVING)
        if "strategy" in services:
            strategy_pb2_grpc.add_StrategyServiceServicer_to_server(Strategies(), server)
        if "ops" in services:
            ops_pb2_grpc.add_OpsServiceServicer_to_server(Ops(), server)
        started = f"127.0.0.1:{server.add_insecure_port(address)}"
        server.start()
        self._servers[started] = server
        return started

    def stop(self, address: str) -> None:
        """Stops one."""
        self._servers.pop(address).stop(None).wait()

    def stop_all(self) -> None:
        """Stops what is left."""
        for address in list(self._servers):
            self.stop(address)
