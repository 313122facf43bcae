"""`alphapanda certs dev`: writes an authority and its certificates into a folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from alphapanda.commands.finding import SERVICES
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.dev_certificates import Pair, new_authority, new_certificate
from alphapanda.settings.tls import TlsSettings

AUTHORITY_DAYS: Final = 3650
USUAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")


def make_certificates(folder: Path, days: int, hosts: Sequence[str]) -> list[str]:
    """Makes what is missing and renews the rest; returns lines that say what to do with it.

    Raises:
        InvalidInput: the folder can't be written, or holds half an authority.
    """
    now = datetime.now(UTC)
    names = tuple(dict.fromkeys((*USUAL_HOSTS, socket.gethostname(), *hosts)))
    template = str(TlsSettings.model_fields["service_id"].default)
    try:
        (folder / "services").mkdir(parents=True, exist_ok=True)
        authority, old = _authority(folder, now)
        made = {
            "server": new_certificate(authority, "alphapanda server", now, days, hosts=names),
            "client": new_certificate(authority, "alphapanda client", now, days, server=False),
            **{
                f"services/{service}": new_certificate(
                    authority,
                    f"alphapanda {service}",
                    now,
                    days,
                    hosts=(*names, service),
                    uri=template.replace("{service}", service),
                )
                for service in SERVICES
            },
        }
        for name, pair in made.items():
            _write(folder / name, pair)
    except OSError as error:
        raise InvalidInput("FOLDER", folder, f"a folder that can be written ({error.strerror})") from None
    place = folder.absolute()
    return [
        f"{'renewed' if old else 'made'} {len(made)} certificates in {place}, valid for {days} days; for trying only",
        "a server with TLS, and a command that asks it:",
        f"  export ALPHAPANDA_TLS__CA={place}/ca.pem",
        f"  ALPHAPANDA_TLS__CERTIFICATE={place}/server.pem ALPHAPANDA_TLS__KEY={place}/server.key alphapanda up",
        f"  alphapanda status --target localhost:50051 --ca {place}/ca.pem",
        "where clients have to show a certificate, too (ALPHAPANDA_TLS__CLIENT_CERTIFICATES=required):",
        f"  alphapanda status … --cert {place}/client.pem --cert-key {place}/client.key",
        f"each service of a mesh has its own in {place}/services",
    ]


def _authority(folder: Path, now: datetime) -> tuple[Pair, bool]:
    certificate, key = folder / "ca.pem", folder / "ca.key"
    if certificate.exists() and key.exists():
        return Pair(certificate.read_bytes(), key.read_bytes()), True
    if certificate.exists() or key.exists():
        there, missing = (certificate, key) if certificate.exists() else (key, certificate)
        raise InvalidInput(
            "FOLDER",
            folder,
            f"an empty one, or one with an authority; {missing.name} is missing beside {there.name}",
        )
    authority = new_authority(now, AUTHORITY_DAYS)
    _write(folder / "ca", authority)
    return authority, False


def _write(place: Path, pair: Pair) -> None:
    """Replaces both files at once each, the key for its owner's eyes only."""
    for name, contents, mode in (("key", pair.key, 0o600), ("pem", pair.certificate, 0o644)):
        part = place.with_name(f"{place.name}.{name}.part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(contents)
        part.replace(place.with_name(f"{place.name}.{name}"))
