"""Checks TLS: the files that the settings name, and why a connection fails."""

from __future__ import annotations

import asyncio
import stat

from alphapanda.app.certificates import REMEDY, certificate_ending
from alphapanda.app.clocks import wall_clock
from alphapanda.app.findings import Finding, fail, ok, warn
from alphapanda.app.local_auth import with_known_secret
from alphapanda.app.security import UNSECURED, ProcessSecurity, open_security
from alphapanda.app.serve import SERVICES
from alphapanda.domain.errors import InvalidInput
from alphapanda.embedded.layout import Layout
from alphapanda.mesh.certificates import service_of
from alphapanda.mesh.handshake import Trouble, diagnose
from alphapanda.mesh.security import ChannelSecurity
from alphapanda.settings.model import Settings


def tls_findings(settings: Settings) -> list[Finding]:
    """Checks certificate, key and authority."""
    tls = settings.tls
    if tls.certificate is None or tls.key is None:
        return [ok("tls", "off: this machine alone can connect (setting tls.certificate)")]
    try:
        material = open_security(settings).server.tls
    except InvalidInput as error:
        return [
            fail("tls", str(error), "correct the setting or the file; `alphapanda certs show FILE` reads it")
        ]
    if material is None or material.contents.facts is None:
        return [ok("tls", "off")]
    findings = []
    facts = material.contents.facts
    if (ending := certificate_ending(material, wall_clock(), tls.warn_days)) is not None:
        findings.append(warn("tls", ending, REMEDY))
    else:
        service = service_of(facts.uris, tls.service_id, SERVICES)
        known = ", ".join(facts.names) or "no name"
        known += f", of service {service}" if service else ""
        findings.append(ok("tls", f"certificate for {known}, until {facts.not_after:%d %b %Y}"))
    if tls.key.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        findings.append(
            warn("tls key", f"everybody on this machine may read {tls.key}", f"chmod 600 {tls.key}")
        )
    return findings


def auth_finding(settings: Settings, layout: Layout) -> Finding:
    """Says whether callers have to sign in at the next start, and at what runs in the data directory."""
    auth = settings.auth
    if auth.enabled:
        return ok("auth", f"on, tokens are signed with {auth.algorithm}")
    if layout.auth_secret.exists():
        return ok("auth", "off in the settings; `up --auth` was run here, and left its key")
    return warn(
        "auth", "off: everybody on this machine may trade", "`alphapanda up --auth`, or set auth.enabled"
    )


def security_for_questions(settings: Settings, layout: Layout | None = None) -> ProcessSecurity:
    """The security of the settings; none where their files can't be used, which is a finding of its own.

    Args:
        settings: all settings.
        layout: the data directory of what is asked, which may have a secret of its own.
    """
    try:
        return open_security(settings if layout is None else with_known_secret(settings, layout))
    except InvalidInput:
        return UNSECURED


async def connection_findings(name: str, address: str, security: ChannelSecurity) -> list[Finding]:
    """Says why a connection fails; nothing where nobody answers, or the connection is not at fault."""
    trouble, said = await asyncio.to_thread(diagnose, address, security.tls, security.server_name)
    if trouble in {Trouble.NONE, Trouble.NOBODY, Trouble.OTHER}:
        return []
    what, _, remedy = said.partition(": ")
    return [fail(name, what, remedy)]
