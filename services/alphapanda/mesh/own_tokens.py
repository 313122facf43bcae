"""Tokens that a service signs for its own calls: with HS256 every service has the secret, so it needs no account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import uuid4

from alphapanda.mesh.signing_keys import SigningKey
from alphapanda.mesh.tokens import OWN_SESSION, CallerKind, Claims, TokenType, signed

VALID_SECONDS: Final = 600
RENEWED_BEFORE_SECONDS: Final = 300


class OwnTokens:
    """Tokens of one service, each used for half of its life.

    Args:
        service: its short name.
        permissions: values of the contract's Permission.
        key: signs; every server of the mesh verifies with the same secret.
        issuer: setting auth.issuer.
        audience: setting auth.audience.
        now: wall time, Unix seconds.
    """

    def __init__(
        self,
        service: str,
        permissions: frozenset[int],
        key: SigningKey,
        issuer: str,
        audience: str,
        now: Callable[[], float],
    ) -> None:
        self._service = service
        self._permissions = permissions
        self._key = key
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._token = ""
        self._until = 0.0

    def __call__(self) -> str:
        """Returns a token that is valid for some minutes."""
        now = self._now()
        if now >= self._until - RENEWED_BEFORE_SECONDS:
            self._until = now + VALID_SECONDS
            claims = Claims(
                subject=self._service,
                kind=CallerKind.SERVICE,
                roles=(),
                permissions=self._permissions,
                session_id=f"{OWN_SESSION}{uuid4()}",
                generation=0,
                token_id=str(uuid4()),
                type=TokenType.ACCESS,
                issuer=self._issuer,
                audience=self._audience,
                issued_at=int(now),
                expires_at=int(self._until),
            )
            self._token = signed(claims, self._key)
        return self._token
