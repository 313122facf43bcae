"""Builds the security of a process from its settings: TLS of its server and of its channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.security import PLAINTEXT, ChannelSecurity
from alphapanda.mesh.server_security import LOOPBACK_ONLY, ServerSecurity
from alphapanda.mesh.tls import TlsFiles, TlsMaterial, system_authorities
from alphapanda.settings.model import Settings


@dataclass(frozen=True, slots=True)
class ProcessSecurity:
    """The security of a process.

    Attributes:
        server: what its server demands.
        channels: what its channels to other processes show and verify.
        own: the same of channels to its own server, whose certificate may not have the address it binds.
    """

    server: ServerSecurity = LOOPBACK_ONLY
    channels: ChannelSecurity = PLAINTEXT
    own: ChannelSecurity = PLAINTEXT


UNSECURED: Final = ProcessSecurity()


def open_security(settings: Settings) -> ProcessSecurity:
    """Reads what the settings name.

    Raises:
        InvalidInput: a file of `tls` can't be used, or this process wouldn't trust its own certificate.
    """
    tls = settings.tls
    if tls.certificate is None:
        return UNSECURED
    material = TlsMaterial(TlsFiles(tls.certificate, tls.key, tls.ca))
    _require_own_trust(material)
    host = settings.api.host
    own_name = "" if host in material.names or not material.names else material.names[0]
    return ProcessSecurity(
        ServerSecurity(material, tls.client_certificates == "required", tls.connection_age_seconds),
        ChannelSecurity(material),
        ChannelSecurity(material, own_name),
    )


def _require_own_trust(material: TlsMaterial) -> None:
    """Services call each other, in one process as well: their certificates have to come from who they trust."""
    from alphapanda.mesh.certificates import comes_from  # noqa: PLC0415 - importing it takes time, which a start without TLS saves

    contents = material.contents
    authorities = contents.ca or system_authorities()
    if contents.certificate is None or authorities is None or comes_from(contents.certificate, authorities):
        return
    issuer = contents.facts.issuer if contents.facts else ""
    raise InvalidInput(
        "tls.ca",
        material.files.ca or "",
        f"the authority that tls.certificate comes from ({issuer}), because services connect to each other",
    )
