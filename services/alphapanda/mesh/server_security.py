"""What a server demands of who calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from alphapanda.mesh.access import NO_AUTHENTICATION, Access
from alphapanda.mesh.tls import TlsMaterial

Reflection: TypeAlias = Literal["authenticated", "open", "off"]


@dataclass(frozen=True, slots=True)
class ServerSecurity:
    """What a server demands.

    Attributes:
        tls: its certificate and the authority of its clients; None for plaintext.
        client_certificates: whether each client has to show a certificate (mTLS).
        connection_age_seconds: age at which an encrypted connection is ended.
        access: who may call what.
        reflection: who may ask for the contract: who may read, everybody, or nobody.
    """

    tls: TlsMaterial | None = None
    client_certificates: bool = False
    connection_age_seconds: float = 3600.0
    access: Access = NO_AUTHENTICATION
    reflection: Reflection = "authenticated"

    @property
    def serves_elsewhere(self) -> bool:
        """Whether it may be reached from other machines: what is sent is encrypted, and who calls is known."""
        return self.tls is not None and self.access.authenticates


LOOPBACK_ONLY: Final = ServerSecurity()
"""Neither TLS nor authentication."""
