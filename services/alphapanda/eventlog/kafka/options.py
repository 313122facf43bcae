"""Options of the connection to Kafka and of its clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Compression = Literal["none", "gzip", "lz4"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaOptions:
    """Options for connecting to a Kafka cluster.

    Attributes:
        bootstrap_servers: host:port of the brokers to connect to first, separated by commas.
        security_protocol: SSL: encrypted; SASL: with a user and a password.
        sasl_mechanism: how the password is proved, with SASL.
        sasl_username: user, with SASL.
        sasl_password: its password.
        ca_file: PEM file of the certificate authority, with SSL; None: those that the system trusts.
        client_id: name in the brokers' logs and quotas.
        group_prefix: what every consumer group's id begins with.
        instance_id: name of this process for static membership; empty: members are dynamic.
        replication_factor: copies of a new topic.
        compression: of market data.
        linger_ms: how long the producer of market data waits to fill a batch.
        session_timeout_seconds: a silent group member loses its partitions after this.
        request_timeout_seconds: longest wait for an answer, a publish's included.
    """

    bootstrap_servers: str = "localhost:9092"
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    ca_file: Path | None = None
    client_id: str = "alpha-panda-client"
    group_prefix: str = "alpha-panda"
    instance_id: str = ""
    replication_factor: int = 1
    compression: Compression = "lz4"
    linger_ms: int = 5
    session_timeout_seconds: float = 10.0
    request_timeout_seconds: float = 10.0

    @property
    def encrypted(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    @property
    def authenticated(self) -> bool:
        """Whether the connection uses a password."""
        return self.security_protocol.startswith("SASL")
