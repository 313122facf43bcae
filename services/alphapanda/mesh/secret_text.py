"""The secrets of HS256 as settings have them; light, because every command reads the settings."""

from __future__ import annotations

from typing import Final

from alphapanda.domain.errors import InvalidInput

LEAST_SECRET_BYTES: Final = 32
"""Of an HS256 secret: as long as its hash (RFC 7518, 3.2)."""


def parsed_secrets(text: str, name: str = "auth.secret") -> list[bytes]:
    """Secrets separated by commas or white space; the first signs, all of them verify.

    Args:
        text: the secrets.
        name: the setting, for the error.

    Raises:
        InvalidInput: there is none, or one is too short. The message doesn't show it.
    """
    secrets = [one.encode() for one in text.replace(",", " ").split()]
    allowed = f"a secret of at least {LEAST_SECRET_BYTES} bytes, such as `openssl rand -base64 48` prints"
    if not secrets:
        raise InvalidInput(name, "", allowed)
    for secret in secrets:
        if len(secret) < LEAST_SECRET_BYTES:
            raise InvalidInput(name, f"has {len(secret)} bytes", allowed)
    return secrets
