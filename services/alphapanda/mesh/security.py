"""How a channel is secured: what it shows and what it verifies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from alphapanda.mesh.tls import TlsMaterial


@dataclass(frozen=True, slots=True)
class ChannelSecurity:
    """How a channel connects.

    Attributes:
        tls: own certificate and trusted authority; None for plaintext.
        server_name: name that the server's certificate has to have; the target's host where empty.
        token: returns the access token of a call, empty where there is none; None: calls carry none.
    """

    tls: TlsMaterial | None = None
    server_name: str = ""
    token: Callable[[], str] | None = None


PLAINTEXT: Final = ChannelSecurity()
"""Neither TLS nor a token: loopback only."""
