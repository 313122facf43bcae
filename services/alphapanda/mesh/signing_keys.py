"""Keys that sign tokens and check their signatures, each with the name (`kid`) that stands in a token's header."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.secret_text import parsed_secrets


class Algorithm(StrEnum):
    """How tokens are signed."""

    HS256 = "HS256"
    EDDSA = "EdDSA"


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key that checks signatures.

    Attributes:
        kid: its name in the header of tokens.
        algorithm: the only algorithm that it checks.
        material: the secret (HS256) or the public key (EdDSA).
    """

    kid: str
    algorithm: Algorithm
    material: bytes | Ed25519PublicKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs tokens.

    Attributes:
        kid: its name in the header of tokens.
        algorithm: the algorithm that it signs with.
        material: the secret (HS256) or the private key (EdDSA).
    """

    kid: str
    algorithm: Algorithm
    material: bytes | Ed25519PrivateKey = field(repr=False)

    @property
    def verifying(self) -> VerifyingKey:
        """The key that checks its signatures."""
        if isinstance(self.material, bytes):
            return VerifyingKey(self.kid, self.algorithm, self.material)
        return VerifyingKey(self.kid, self.algorithm, self.material.public_key())


def secret_keys(text: str) -> tuple[SigningKey, ...]:
    """HS256 keys of secrets, separated by commas or white space; the first signs, all of them verify.

    Raises:
        InvalidInput: there is none, or one is too short. The message doesn't show it.
    """
    return tuple(SigningKey(_kid(b"HS256 " + one), Algorithm.HS256, one) for one in parsed_secrets(text))


def private_keys(pem: str) -> tuple[SigningKey, ...]:
    """EdDSA keys of private keys in PEM (Ed25519, PKCS 8); the first signs, the public keys of all of them are published.

    Raises:
        InvalidInput: there is none, or one can't be read. The message doesn't show it.
    """
    allowed = "private keys in PEM, such as `openssl genpkey -algorithm ed25519` prints"
    end = "-----END PRIVATE KEY-----"
    blocks = [f"{block}{end}\n".lstrip() for block in pem.split(end)[:-1]]
    if not blocks:
        raise InvalidInput("auth.private_key", "(no PEM block)" if pem else "", allowed)
    keys = []
    for number, block in enumerate(blocks, start=1):
        try:
            key = serialization.load_pem_private_key(block.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise InvalidInput("auth.private_key", f"(key {number})", allowed) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise InvalidInput("auth.private_key", f"(key {number})", f"an Ed25519 key: {allowed}")
        keys.append(SigningKey(public_kid(public_bytes(key.public_key())), Algorithm.EDDSA, key))
    return tuple(keys)


def public_bytes(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of a public key."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def public_key(raw: bytes) -> VerifyingKey:
    """The key that checks EdDSA signatures, of the 32 bytes of a public key.

    Raises:
        InvalidInput: they are no Ed25519 public key.
    """
    try:
        return VerifyingKey(public_kid(raw), Algorithm.EDDSA, Ed25519PublicKey.from_public_bytes(raw))
    except ValueError:
        raise InvalidInput("public_key", f"({len(raw)} bytes)", "32 bytes of an Ed25519 key") from None


def public_kid(raw: bytes) -> str:
    """The name of a public key."""
    return _kid(raw)


def _kid(of: bytes) -> str:
    return sha256(of).hexdigest()[:16]
