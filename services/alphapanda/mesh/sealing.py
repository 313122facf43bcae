"""Encrypts what must be secret at rest and on its way, bound to what it belongs to."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from alphapanda.domain.broker_credentials import Credentials

VERSION: Final = b"\x01"
NONCE_BYTES: Final = 12
KEY_ID_BYTES: Final = 4


class CannotOpen(Exception):
    """Sealed bytes that none of the keys opens, or that belong to something else; the message shows none of them."""


class Sealer:
    """Seals and opens by AES-256-GCM; what is sealed for one thing can't be opened as another's.

    Args:
        secrets: of at least 32 bytes each; the first seals, all of them open.
        purpose: what they are used for; keys of different purposes differ.
    """

    def __init__(self, secrets: Sequence[bytes], purpose: str) -> None:
        derived = [HKDF(SHA256(), 32, None, purpose.encode()).derive(secret) for secret in secrets]
        self._keys = {sha256(key).digest()[:KEY_ID_BYTES]: AESGCM(key) for key in reversed(derived)}
        self._first = sha256(derived[0]).digest()[:KEY_ID_BYTES]

    def seal(self, secret: str, belongs_to: str) -> bytes:
        """The secret, sealed.

        Args:
            secret: what is sealed.
            belongs_to: what it belongs to, such as a session's id.
        """
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._keys[self._first].encrypt(nonce, secret.encode(), belongs_to.encode())
        return VERSION + self._first + nonce + sealed

    def open(self, sealed: bytes, belongs_to: str) -> str:
        """The secret.

        Raises:
            CannotOpen: no key fits, or it belongs to something else.
        """
        head = len(VERSION) + KEY_ID_BYTES
        key = self._keys.get(sealed[len(VERSION) : head]) if sealed[: len(VERSION)] == VERSION else None
        if key is None:
            raise CannotOpen("it was sealed with another key")
        try:
            raw = key.decrypt(
                sealed[head : head + NONCE_BYTES], sealed[head + NONCE_BYTES :], belongs_to.encode()
            )
        except (InvalidTag, ValueError):
            raise CannotOpen("it belongs to something else, or was changed") from None
        return raw.decode()


def seal_credentials(sealer: Sealer, credentials: Credentials, session_id: str) -> bytes:
    """A broker session's key and token, sealed for this session alone."""
    return sealer.seal(json.dumps([credentials.api_key, credentials.access_token]), session_id)


def open_credentials(sealer: Sealer, sealed: bytes, session_id: str, broker_user_id: str) -> Credentials:
    """A broker session's key and token.

    Raises:
        CannotOpen: they were sealed with another key, or for another session.
    """
    api_key, access_token = json.loads(sealer.open(sealed, session_id))
    return Credentials(api_key, access_token, broker_user_id)
