"""Builds the security of a process from its settings: TLS and access of its server, what its channels show."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from alphapanda.app.tokens import signing_keys, token_verifier
from alphapanda.auth.core.roles import SHIPPED_ROLES
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.access import NO_AUTHENTICATION, Access, permission_name
from alphapanda.mesh.bearer import TokenFile
from alphapanda.mesh.identity import OF_SERVICES
from alphapanda.mesh.loopback import is_loopback
from alphapanda.mesh.own_tokens import OwnTokens
from alphapanda.mesh.revocations import Revocations
from alphapanda.mesh.security import PLAINTEXT, ChannelSecurity
from alphapanda.mesh.server_security import LOOPBACK_ONLY, ServerSecurity
from alphapanda.mesh.tls import TlsFiles, TlsMaterial, system_authorities
from alphapanda.mesh.tokens import TokenVerifier
from alphapanda.settings.model import Settings

SERVICES: Final = ("instruments", "marketdata", "strategy", "risk", "trading", "portfolio", "auth", "ops")
"""Short names of all services."""


@dataclass(frozen=True, slots=True)
class ProcessSecurity:
    """The security of a process.

    Attributes:
        server: what its server demands.
        channels: what its channels to other processes show and verify.
        own: the same of channels to its own server, whose certificate may not have the address it binds.
        verifier: checks tokens; None where authentication is off.
        revocations: what was revoked, for the verifier; whoever asks auth keeps it up to date.
    """

    server: ServerSecurity = LOOPBACK_ONLY
    channels: ChannelSecurity = PLAINTEXT
    own: ChannelSecurity = PLAINTEXT
    verifier: TokenVerifier | None = None
    revocations: Revocations = field(default_factory=Revocations)


UNSECURED: Final = ProcessSecurity()


def open_security(
    settings: Settings, service: str = "", permissions: frozenset[int] = OF_SERVICES
) -> ProcessSecurity:
    """Reads what the settings name.

    Args:
        settings: all settings.
        service: short name of the service whose process this is; empty for one that only asks.
        permissions: what its own calls need.

    Raises:
        InvalidInput: a file of `tls` can't be used, this process wouldn't trust its own certificate, its calls would have no
            token, or it would serve other machines without TLS and authentication.
    """
    tls, host = settings.tls, settings.api.host
    material = None if tls.certificate is None else TlsMaterial(TlsFiles(tls.certificate, tls.key, tls.ca))
    own_name = ""
    if material is not None:
        _require_own_trust(material)
        own_name = "" if host in material.names or not material.names else material.names[0]
    mutual = tls.client_certificates == "required"
    revocations = Revocations()
    verifier = token_verifier(settings.auth, revocations)
    server = ServerSecurity(
        tls=material,
        client_certificates=mutual,
        connection_age_seconds=tls.connection_age_seconds,
        access=_access(settings, verifier),
        reflection=settings.api.reflection,
    )
    if service:
        require_reachable(host, server)
    shown = material
    if not service and material is None and tls.ca is not None:  # a client that shows no certificate
        shown = TlsMaterial(TlsFiles(ca=tls.ca))
    token = _own_token(settings, material if mutual else None, service, permissions) if verifier else None
    return ProcessSecurity(
        server,
        ChannelSecurity(shown, token=token),
        ChannelSecurity(shown, own_name, token),
        verifier,
        revocations,
    )


def require_reachable(host: str, security: ServerSecurity) -> None:
    """Requires TLS and authentication of a server that other machines can reach.

    Raises:
        InvalidInput: one of them is missing.
    """
    if is_loopback(host) or security.serves_elsewhere:
        return
    missing = [] if security.access.authenticates else ["authentication (auth.enabled = true)"]
    missing += [] if security.tls is not None else ["TLS (tls.certificate, tls.key)"]
    raise InvalidInput(
        "api.host",
        host,
        f"127.0.0.1, ::1 or localhost without {' and '.join(missing)}: everybody who reaches the port could trade",
    )


def _access(settings: Settings, verifier: TokenVerifier | None) -> Access:
    if verifier is None:
        return NO_AUTHENTICATION
    return Access(verifier, _service_of(settings), time.time, _shipped_roles_with)


def _shipped_roles_with(permission: int) -> Sequence[str]:
    """The shipped roles that have a permission, for messages: a deployment's own are auth's rows."""
    name = permission_name(permission)
    return [role for role, (_, permissions) in SHIPPED_ROLES.items() if name in permissions]


def _service_of(settings: Settings) -> Callable[[Sequence[str]], str | None]:
    """Which service a certificate stands for; none where clients don't have to show one."""
    if settings.tls.client_certificates != "required":
        return lambda _: None
    from alphapanda.mesh.certificates import service_of  # noqa: PLC0415 - importing it takes time, which a start without TLS saves

    return lambda uris: service_of(uris, settings.tls.service_id, SERVICES)


def _own_token(
    settings: Settings, shown: TlsMaterial | None, service: str, permissions: frozenset[int]
) -> Callable[[], str] | None:
    """How this process's calls say who it is; None where its certificate says it."""
    auth = settings.auth
    if auth.token_file is not None:
        return TokenFile(auth.token_file, "auth.token_file")
    facts = None if shown is None else shown.contents.facts
    if facts is not None and _service_of(settings)(facts.uris) is not None and permissions <= OF_SERVICES:
        return None
    keys = signing_keys(auth)
    if not keys:
        raise InvalidInput(
            "auth.token_file",
            "",
            "a file with a service account's token, as long as tls.certificate names no service (tls.service_id, with"
            " tls.client_certificates = required): other services have to know who calls",
        )
    return OwnTokens(service or "alphapanda", permissions, keys[0], auth.issuer, auth.audience, time.time)


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
