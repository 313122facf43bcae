"""Settings of TLS for gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from alphapanda.settings.section import Seconds, Section


class TlsSettings(Section):
    """TLS of the gRPC server, of the channels between services and of commands; PEM files, read again when they change.

    `alphapanda certs dev FOLDER` makes all of them for trying it.
    """

    certificate: Path | None = Field(
        None,
        description="this process's certificate, with those between it and its authority; empty: no TLS",
    )
    key: Path | None = Field(None, description="the certificate's private key, without a password")
    ca: Path | None = Field(
        None,
        description="certificate authority that the other side's certificate must come from; empty: those that the"
        " system trusts",
    )
    client_certificates: Literal["required", "off"] = Field(
        "off", description="required: every client has to show a certificate of tls.ca (mTLS)"
    )
    service_id: str = Field(
        "spiffe://alphapanda/service/{service}",
        pattern=r"^[a-z][a-z0-9+.-]*://\S*\{service\}\S*$",
        description="URI in a service's certificate (subject alternative name) that says which service it is",
    )
    warn_days: int = Field(
        21, ge=0, le=365, description="days before a certificate expires from which on it is warned of"
    )
    connection_age_seconds: Seconds = Field(
        3600.0,
        description="age at which the server ends an encrypted connection, so that certificates are checked again;"
        " calls under way may go on for a tenth of it",
    )
