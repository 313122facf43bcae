"""Makes a small certificate authority and certificates of it, for trying TLS. Whoever has its key can be any service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from alphapanda.domain.errors import InvalidInput

CLOCK_SKEW: Final = timedelta(minutes=5)
"""A certificate is valid from a little earlier, because the clocks of two machines differ."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes


def new_authority(now: datetime, days: int) -> Pair:
    """Makes a certificate authority that is valid for so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Alpha Panda development CA")
    usage = {"key_cert_sign": True, "crl_sign": True}
    certificate = (
        _builder(name, name, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def new_certificate(
    authority: Pair,
    subject: str,
    now: datetime,
    days: int,
    *,
    hosts: Sequence[str] = (),
    uri: str = "",
    server: bool = True,
    client: bool = True,
) -> Pair:
    """Makes a certificate.

    Args:
        authority: signs it.
        subject: its common name, for people.
        now: the current time.
        days: how long it is valid.
        hosts: DNS names and IP addresses of the server.
        uri: URI that says which service it is; empty: none.
        server: whether a server may show it.
        client: whether a client may show it.

    Raises:
        InvalidInput: the authority's files aren't a certificate and its key.
    """
    try:
        issuer = x509.load_pem_x509_certificate(authority.certificate)
        signing = load_pem_private_key(authority.key, None)
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            "ca", str(error), "a certificate and its key, PEM; remove both to make new ones"
        ) from None
    if not isinstance(signing, ec.EllipticCurvePrivateKey):
        raise InvalidInput("ca", type(signing).__name__, "the authority that this command made")
    key = ec.generate_private_key(ec.SECP256R1())
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
    builder = (
        _builder(_name(subject), issuer.subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False
        )
    )
    names: list[x509.GeneralName] = [_host(host) for host in hosts]
    if uri:
        names.append(x509.UniformResourceIdentifier(uri))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _pair(builder.sign(signing, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
