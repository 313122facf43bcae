"""Explains why there is no connection: gRPC itself only says that the socket was closed.

A connection is tried step by step: TCP, the handshake, the first bytes after it. Nothing is sent that does anything.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.certificates import certificate_facts
from alphapanda.mesh.tls import TlsMaterial, system_authorities

STEP_SECONDS: Final = 2.0
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""Begins HTTP/2, with empty settings; a server answers with its own."""
_EXPIRED: Final = {10}
_NOT_YET: Final = {9}
_WRONG_NAME: Final = {62, 64}
"""Results of OpenSSL's verification (X509_V_ERR_…); others mean an authority that isn't trusted."""
_NO_TLS: Final = "{address} doesn't speak TLS: leave out --ca (settings tls.ca and tls.certificate), or give that server a certificate"


class Trouble(StrEnum):
    """Why there is no connection."""

    NONE = "a connection is possible"
    NOBODY = "nothing answers"
    PLAINTEXT_TO_TLS = "it expects TLS"
    TLS_TO_PLAINTEXT = "it doesn't speak TLS"
    UNKNOWN_AUTHORITY = "unknown certificate authority"
    EXPIRED = "expired certificate"
    WRONG_NAME = "certificate of another name"
    CERTIFICATE_WANTED = "it wants a client certificate"
    CERTIFICATE_REFUSED = "it refuses the client certificate"
    OTHER = "the handshake failed"


def diagnose(address: str, own: TlsMaterial | None, server_name: str = "") -> tuple[Trouble, str]:
    """Tries a connection; blocks for some seconds at most.

    Args:
        address: host:port.
        own: what the client shows and trusts; None for plaintext.
        server_name: name that the certificate has to have; the host where empty.

    Returns:
        What is wrong, and one sentence that says it with what to do.
    """
    try:
        host, port = _place(address)
        connection = socket.create_connection((host, port), STEP_SECONDS)
    except (OSError, ValueError) as error:
        return Trouble.NOBODY, f"nothing answers on {address} ({getattr(error, 'strerror', None) or error})"
    with connection:
        connection.settimeout(STEP_SECONDS)
        if own is None:
            return _without_tls(connection, address)
        return _with_tls(connection, address, own, server_name or host)


def _without_tls(connection: socket.socket, address: str) -> tuple[Trouble, str]:
    try:
        connection.sendall(_PREFACE)
        if _is_settings(connection.recv(9)):
            return Trouble.NONE, ""
    except OSError:
        pass
    if _speaks_tls(address):
        return Trouble.PLAINTEXT_TO_TLS, (
            f"{address} expects TLS: name its certificate authority with --ca FILE (setting tls.ca)"
        )
    return Trouble.OTHER, f"{address} answers, and not as a gRPC server does"


def _with_tls(connection: socket.socket, address: str, own: TlsMaterial, name: str) -> tuple[Trouble, str]:
    try:
        with _context(own).wrap_socket(connection, server_hostname=name) as encrypted:
            encrypted.sendall(_PREFACE)
            if _is_settings(encrypted.recv(9)):
                return Trouble.NONE, ""
    except ssl.SSLCertVerificationError as error:
        return _unverified(address, name, error)
    except OSError as error:
        reason = str(getattr(error, "reason", "") or "").upper()
        judged = "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)
        if not judged and _speaks_plaintext(address):
            return Trouble.TLS_TO_PLAINTEXT, _NO_TLS.format(address=address)
        if not judged and not isinstance(error, ConnectionError):
            return Trouble.OTHER, f"the TLS handshake with {address} failed ({reason or error})"
    return _refused(address, own)  # TLS 1.3: the client's certificate is judged after its handshake


def _refused(address: str, own: TlsMaterial) -> tuple[Trouble, str]:
    if own.contents.certificate is None:
        return Trouble.CERTIFICATE_WANTED, (
            f"{address} wants a client certificate: give one with --cert and --cert-key (settings tls.certificate, tls.key)"
        )
    return Trouble.CERTIFICATE_REFUSED, (
        f"{address} refuses the client certificate: use one of its authority that has not expired (its setting tls.ca)"
    )


def _unverified(address: str, name: str, error: ssl.SSLCertVerificationError) -> tuple[Trouble, str]:
    shown = _shown_certificate(address)
    with suppress(InvalidInput):
        facts = certificate_facts(shown, "certificate", address)
        if error.verify_code in _EXPIRED:
            return Trouble.EXPIRED, (
                f"the certificate of {address} expired on {facts.not_after:%d %b %Y %H:%M} UTC: renew it there (its"
                " setting tls.certificate), no restart is needed"
            )
        if error.verify_code in _NOT_YET:
            now = datetime.now(UTC)
            return Trouble.EXPIRED, (
                f"the certificate of {address} begins on {facts.not_before:%d %b %Y %H:%M} UTC, and it is"
                f" {now:%d %b %Y %H:%M} here: set the clock"
            )
        if error.verify_code in _WRONG_NAME:
            names = ", ".join(facts.names) or "no name"
            return Trouble.WRONG_NAME, (
                f"the certificate of {address} is for {names}, not for {name}: ask at one of these names (--target), or"
                f" give the server a certificate that has {name}"
            )
        return Trouble.UNKNOWN_AUTHORITY, (
            f"the certificate of {address} comes from {facts.issuer or 'an authority'}, which isn't trusted here: name its"
            " authority with --ca FILE (setting tls.ca)"
        )
    return Trouble.OTHER, f"the certificate of {address} is not accepted ({error.verify_message})"


def _shown_certificate(address: str) -> bytes:
    try:
        return ssl.get_server_certificate(_place(address), timeout=STEP_SECONDS).encode()
    except (OSError, ValueError):
        return b""


def _speaks_tls(address: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only whether it speaks TLS; nothing is sent
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(_place(address), STEP_SECONDS) as connection,
            context.wrap_socket(connection),
        ):
            return True
    except (OSError, ValueError):
        return False


def _speaks_plaintext(address: str) -> bool:
    try:
        with socket.create_connection(_place(address), STEP_SECONDS) as connection:
            connection.settimeout(STEP_SECONDS)
            connection.sendall(_PREFACE)
            return _is_settings(connection.recv(9))
    except (OSError, ValueError):
        return False


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("dns:///").rpartition(":")
    return host.strip("[]"), int(port)


def _is_settings(received: bytes) -> bool:
    """Whether these bytes begin a SETTINGS frame of HTTP/2."""
    return len(received) >= 4 and received[3] == 4  # noqa: PLR2004 - its type


def _context(own: TlsMaterial) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities = own.contents.ca or system_authorities()
    if authorities is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=authorities.decode(errors="replace"))
    context.set_alpn_protocols(["h2"])
    if own.files.certificate is not None:
        context.load_cert_chain(own.files.certificate, own.files.key)
    return context
