"""A mesh with mTLS and authentication: certificates, a secret and a first administrator, in a folder of its own."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from alphapanda.commands.making_certs import make_certificates
from alphapanda.mesh.identity import OF_SERVICES
from alphapanda.mesh.own_tokens import OwnTokens
from alphapanda.mesh.security import ChannelSecurity
from alphapanda.mesh.signing_keys import secret_keys
from alphapanda.mesh.tls import TlsFiles, TlsMaterial
from panda.options.v1 import options_pb2 as options

DAYS = 30
OF_TOOLS = OF_SERVICES | {options.PERMISSION_MANAGE_STRATEGIES, options.PERMISSION_TRADE}
"""Permissions of what creates strategies and asks for orders here."""


class Secured:
    """The security of a mesh.

    Args:
        folder: where certificates, the secret and the first administrator's password are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def prepare(self) -> None:
        """Makes what is missing, and renews the certificates; what else is there is used again."""
        make_certificates(self.folder, DAYS, ())
        for name in ("secret", "admin-password"):
            file = self.folder / name
            if not file.exists():
                file.touch(0o600)
                file.write_text(f"{secrets.token_urlsafe(48)}\n")

    @property
    def secret(self) -> str:
        """What tokens are signed with."""
        return (self.folder / "secret").read_text().strip()

    @property
    def password(self) -> str:
        """The first administrator's."""
        return (self.folder / "admin-password").read_text().strip()

    def environment(self) -> dict[str, str]:
        """Settings of every process of the mesh."""
        return {
            "ALPHAPANDA_AUTH__ENABLED": "true",
            "ALPHAPANDA_AUTH__SECRET": self.secret,
            "ALPHAPANDA_TLS__CA": str(self.folder / "ca.pem"),
            "ALPHAPANDA_TLS__CLIENT_CERTIFICATES": "required",
            **self._pair("client"),
        }

    def of_service(self, service: str) -> dict[str, str]:
        """Settings of one service's process: its certificate says which service it is."""
        first = {"ALPHAPANDA_AUTH__FIRST_ADMIN_PASSWORD": self.password} if service == "auth" else {}
        return self._pair(f"services/{service}") | first

    def channel(self) -> ChannelSecurity:
        """How tools and tests connect: a client's certificate, and a token of their own."""
        (key, *_) = secret_keys(self.secret)
        return ChannelSecurity(
            TlsMaterial(
                TlsFiles(self.folder / "client.pem", self.folder / "client.key", self.folder / "ca.pem")
            ),
            token=OwnTokens("tools", OF_TOOLS, key, "alphapanda", "alphapanda", time.time),
        )

    def told(self) -> Sequence[str]:
        """What to do before the first command."""
        files = {"CA": "ca.pem", "CERTIFICATE": "client.pem", "KEY": "client.key"}
        return (
            *(f"export ALPHAPANDA_TLS__{name}={self.folder / file}" for name, file in files.items()),
            f".venv/bin/alphapanda login --user admin    # the password is in {self.folder / 'admin-password'}",
        )

    def _pair(self, name: str) -> dict[str, str]:
        return {
            "ALPHAPANDA_TLS__CERTIFICATE": str(self.folder / f"{name}.pem"),
            "ALPHAPANDA_TLS__KEY": str(self.folder / f"{name}.key"),
        }
