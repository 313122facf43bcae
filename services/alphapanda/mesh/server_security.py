"""What a server demands of who calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alphapanda.mesh.tls import TlsMaterial


@dataclass(frozen=True, slots=True)
class ServerSecurity:
    """What a server demands.

    Attributes:
        tls: its certificate and the authority of its clients; None for plaintext.
        client_certificates: whether each client has to show a certificate (mTLS).
        connection_age_seconds: age at which an encrypted connection is ended.
    """

    tls: TlsMaterial | None = None
    client_certificates: bool = False
    connection_age_seconds: float = 3600.0


LOOPBACK_ONLY: Final = ServerSecurity()
"""Neither TLS nor authentication."""
