"""Reads and checks PEM certificates and keys. A core: bytes and a time in, facts or a refusal out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtensionOID, NameOID

from alphapanda.domain.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says of itself.

    Attributes:
        subject: common name; empty where it has none.
        issuer: common name of who signed it.
        names: DNS names and IP addresses that it stands for.
        uris: URIs that it stands for, such as "spiffe://alphapanda/service/risk".
        not_before: beginning of its validity.
        not_after: end of its validity.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    uris: tuple[str, ...]
    not_before: datetime
    not_after: datetime


def certificate_facts(pem: bytes, setting: str, file: str) -> CertificateFacts:
    """Reads the first certificate of a PEM file.

    Args:
        pem: contents of the file.
        setting: setting that names the file, for the refusal.
        file: its name, for the refusal.

    Raises:
        InvalidInput: there is no certificate in it.
    """
    return _facts(_certificates(pem, setting, file)[0])


def check_pair(certificate: bytes, key: bytes, files: tuple[str, str], now: datetime) -> CertificateFacts:
    """Checks that a certificate is valid now and that the key is its own.

    Args:
        certificate: PEM, the certificate first, then those between it and its authority.
        key: PEM.
        files: names of both files, for the refusal.
        now: the current time.

    Raises:
        InvalidInput: one of them can't be used.
    """
    own = _certificates(certificate, "tls.certificate", files[0])[0]
    facts = _facts(own)
    if now >= facts.not_after:
        allowed = f"a valid certificate; this one expired on {facts.not_after:%d %b %Y %H:%M} UTC"
        raise InvalidInput("tls.certificate", files[0], allowed)
    if now < facts.not_before:
        allowed = f"a valid certificate; this one begins on {facts.not_before:%d %b %Y %H:%M} UTC, or the clock is wrong"
        raise InvalidInput("tls.certificate", files[0], allowed)
    try:
        private = load_pem_private_key(key, None)
    except TypeError:
        raise InvalidInput("tls.key", files[1], "a private key without a password") from None
    except ValueError:
        raise InvalidInput("tls.key", files[1], "a PEM file with a private key") from None
    wire = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if own.public_key().public_bytes(*wire) != private.public_key().public_bytes(*wire):
        raise InvalidInput("tls.key", files[1], f"the key of the certificate in {files[0]}")
    return facts


def check_authority(ca: bytes, file: str, now: datetime) -> None:
    """Checks that a file holds an authority that is valid now.

    Raises:
        InvalidInput: there is no certificate in it, or each has expired.
    """
    found = _certificates(ca, "tls.ca", file)
    if all(now >= one.not_valid_after_utc for one in found):
        raise InvalidInput("tls.ca", file, "a certificate authority that has not expired")


def comes_from(certificate: bytes, authorities: bytes) -> bool:
    """Whether the first certificate of a PEM file comes from one of these authorities, over those that stand after it."""
    own, *between = x509.load_pem_x509_certificates(certificate)
    with warnings.catch_warnings():  # about old authorities of the system's, which nobody here can mend
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        trusted = x509.load_pem_x509_certificates(authorities)
    for _ in range(len(between) + 1):
        if own in trusted or any(_issued(own, one) for one in trusted):
            return True
        above = next((one for one in between if _issued(own, one)), None)
        if above is None:
            return False
        own = above
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def service_of(uris: Sequence[str], template: str, services: Sequence[str]) -> str | None:
    """Returns the service that a certificate stands for; None where it stands for none.

    Args:
        uris: the certificate's URIs.
        template: form of a service's URI, with "{service}" (setting tls.service_id).
        services: short names of all services.
    """
    known = {template.replace("{service}", service): service for service in services}
    return next((known[uri] for uri in uris if uri in known), None)


def _certificates(pem: bytes, setting: str, file: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        what = "a private key stands in it" if b"PRIVATE KEY" in pem else "there is none in it"
        raise InvalidInput(setting, file, f"a PEM file with a certificate; {what}") from None


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    try:
        named = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        names: tuple[str, ...] = ()
        uris: tuple[str, ...] = ()
    else:
        assert isinstance(named, x509.SubjectAlternativeName)  # noqa: S101 - by its object identifier
        names = (
            *named.get_values_for_type(x509.DNSName),
            *map(str, named.get_values_for_type(x509.IPAddress)),
        )
        uris = tuple(named.get_values_for_type(x509.UniformResourceIdentifier))
    return CertificateFacts(
        _common_name(certificate.subject),
        _common_name(certificate.issuer),
        names,
        uris,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""
