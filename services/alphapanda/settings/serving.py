"""Settings of the gRPC server, the mesh and the embedded process."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from alphapanda.mesh.bounds import DEFAULT_BOUNDS as _BOUNDS
from alphapanda.settings.section import Seconds, Section


class ApiSettings(Section):
    """The gRPC server."""

    host: str = Field("127.0.0.1", description="address to bind; anything but loopback needs authentication")
    port: int = Field(50051, ge=0, le=65535, description="port; 0 takes a free one")
    health_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="port for health checks alone, without TLS and tokens, which Kubernetes' gRPC probes don't know; 0: none",
    )
    max_connections: int = Field(
        _BOUNDS.max_connections, ge=1, le=100_000, description="connections open at once"
    )
    max_queries: int = Field(
        _BOUNDS.max_queries,
        ge=1,
        le=100_000,
        description="queries answered at once; more are refused, as with all bounds here",
    )
    max_queries_per_connection: int = Field(
        _BOUNDS.max_queries_per_connection,
        ge=1,
        le=100_000,
        description="queries of one connection answered at once",
    )
    max_commands: int = Field(
        _BOUNDS.max_commands,
        ge=1,
        le=100_000,
        description="commands that run at once, also beyond their call; calls between services may be twice as many",
    )
    max_commands_per_connection: int = Field(
        _BOUNDS.max_commands_per_connection,
        ge=1,
        le=100_000,
        description="commands of one connection that run at once",
    )
    max_watches: int = Field(
        _BOUNDS.max_watches,
        ge=1,
        le=100_000,
        description="watches open at once, streams of health and reflection among them",
    )
    max_watches_per_connection: int = Field(
        _BOUNDS.max_watches_per_connection,
        ge=1,
        le=100_000,
        description="watches that one connection has open at once",
    )
    max_urgent_calls: int = Field(
        _BOUNDS.max_urgent_calls,
        ge=1,
        le=100_000,
        description="kill switches, square-offs and health checks that run at once",
    )
    max_urgent_calls_per_connection: int = Field(
        _BOUNDS.max_urgent_calls_per_connection,
        ge=1,
        le=100_000,
        description="kill switches, square-offs and health checks of one connection",
    )
    max_requests_per_second: int = Field(
        _BOUNDS.max_requests_per_second,
        ge=0,
        le=1_000_000,
        description="requests a second of a person who has signed in, all connections together, kill switches and"
        " square-offs apart; 0: no limit. The bounds of a connection hold for a person's connections together, too",
    )
    reflection: Literal["authenticated", "open", "off"] = Field(
        "authenticated",
        description="who may ask the server for its contract, as grpcurl does: who may read, everybody, or nobody;"
        " everybody where authentication is off",
    )


class MeshSettings(Section):
    """Where the services of `alphapanda serve` answer: host:port, or dns:///name:port for all addresses of a name."""

    instruments: str = Field("127.0.0.1:50061", min_length=1, description="address of InstrumentService")
    marketdata: str = Field("127.0.0.1:50062", min_length=1, description="address of MarketDataService")
    strategy: str = Field("127.0.0.1:50063", min_length=1, description="address of StrategyService")
    risk: str = Field("127.0.0.1:50064", min_length=1, description="address of RiskService")
    trading: str = Field("127.0.0.1:50065", min_length=1, description="address of TradingService")
    portfolio: str = Field("127.0.0.1:50066", min_length=1, description="address of PortfolioService")
    auth: str = Field("127.0.0.1:50067", min_length=1, description="address of AuthService")
    dependency_patience_seconds: Seconds = Field(
        60.0,
        description="how long a starting service waits for the database, Redis, the log and other services",
    )
    drain_seconds: Seconds = Field(5.0, description="how long calls in flight may take when a service stops")

    def target(self, service: str) -> str:
        """Returns the address of a service."""
        return str(getattr(self, service))


class EmbeddedSettings(Section):
    """`alphapanda up`."""

    data_dir: Path | None = Field(None, description="data directory; default: the user's data home")
    max_failed_starts: int = Field(
        10,
        ge=1,
        le=1000,
        description="failed starts in a row after which PostgreSQL or Redis, killed while it ran, is given up and `up` ends",
    )
