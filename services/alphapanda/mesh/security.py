"""How a channel is secured: what it shows and what it verifies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alphapanda.mesh.tls import TlsMaterial


@dataclass(frozen=True, slots=True)
class ChannelSecurity:
    """How a channel connects.

    Attributes:
        tls: own certificate and trusted authority; None for plaintext.
        server_name: name that the server's certificate has to have; the target's host where empty.
    """

    tls: TlsMaterial | None = None
    server_name: str = ""


PLAINTEXT: Final = ChannelSecurity()
