"""How a client connects: target, TLS, token."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

import grpc

from alphapanda_client.policy import service_config

CONNECT_SECONDS = 20.0
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_retries", 1),
)


@dataclass(frozen=True, slots=True)
class Connection:
    """A platform and how to speak to it.

    Args:
        target: such as "127.0.0.1:50051".
        token: access token, sent with each call.
        token_file: file that holds the token at the time of the call: who renews the file renews the token.
        ca: PEM file of the certificates to trust; TLS.
        cert: PEM file of a certificate to show where the server asks for one (mTLS).
        key: PEM file of its key.
        tls: TLS that trusts what gRPC trusts; with `ca` it is on anyway.

    Raises:
        ValueError: without TLS the target is another machine, or there are two tokens.
    """

    target: str
    token: str = ""
    token_file: str | Path = ""
    ca: str | Path = ""
    cert: str | Path = ""
    key: str | Path = ""
    tls: bool = False

    def __post_init__(self) -> None:
        if not self.secure and not on_this_machine(self.target):
            raise ValueError(f"{self.target} is another machine: use TLS (ca=FILE or tls=True)")
        if self.token and self.token_file:
            raise ValueError("give a token or a token_file, not both")

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.tls or bool(self.ca)

    @property
    def options(self) -> list[tuple[str, int | str]]:
        """The channel's options of gRPC."""
        return [*OPTIONS, ("grpc.service_config", service_config())]

    def credentials(self) -> grpc.ChannelCredentials:
        """Of TLS.

        Raises:
            OSError: a file can't be read.
        """
        ca, key, cert = (Path(file).read_bytes() if file else None for file in (self.ca, self.key, self.cert))
        return grpc.ssl_channel_credentials(ca, key, cert)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The token, as a call carries it.

        Raises:
            OSError: the token's file can't be read.
        """
        token = Path(self.token_file).read_text().strip() if self.token_file else self.token
        return (("authorization", f"Bearer {token}"),) if token else ()


def from_environment(target: str) -> Connection:
    """A connection with what ALPHAPANDA_CA, ALPHAPANDA_CERT, ALPHAPANDA_CERT_KEY and ALPHAPANDA_TOKEN_FILE name."""
    return Connection(
        target,
        token_file=os.environ.get("ALPHAPANDA_TOKEN_FILE", ""),
        ca=os.environ.get("ALPHAPANDA_CA", ""),
        cert=os.environ.get("ALPHAPANDA_CERT", ""),
        key=os.environ.get("ALPHAPANDA_CERT_KEY", ""),
    )


def on_this_machine(target: str) -> bool:
    """Whether a target is a loopback address or localhost."""
    host = target.removeprefix("dns:///").rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
