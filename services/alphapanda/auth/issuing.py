"""Makes the tokens of a session. They follow from its row and the key, so none is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import new as hmac

from google.protobuf.message import Message

from alphapanda.auth.core.sessions import Session
from alphapanda.auth.core.users import Role, User, UserKind, permissions_of
from alphapanda.contract.wire import timestamp
from alphapanda.domain import ids
from alphapanda.mesh.signing_keys import SigningKey, public_bytes
from alphapanda.mesh.tokens import CallerKind, Claims, TokenType, signed
from panda.auth.v1 import auth_pb2 as api
from panda.options.v1 import options_pb2 as options

PREFIX = "PERMISSION_"


@dataclass(frozen=True, slots=True)
class TokenTimes:
    """How long tokens are valid.

    Attributes:
        access: access tokens of persons.
        refresh: a session, from its last refresh on.
        service: tokens of service accounts, at most.
    """

    access: timedelta
    refresh: timedelta
    service: timedelta


class TokenIssuer:
    """Makes tokens.

    Args:
        keys: the first signs; all of them verify.
        issuer: `iss` of the tokens.
        audience: `aud` of the tokens.
        times: how long they are valid.
    """

    def __init__(self, keys: Sequence[SigningKey], issuer: str, audience: str, times: TokenTimes) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self.times = times

    @property
    def algorithm(self) -> str:
        """How tokens are signed."""
        return self._keys[0].algorithm.value

    @property
    def public_keys(self) -> list[api.SigningKey]:
        """The public keys of EdDSA; none of HS256."""
        return [
            api.SigningKey(kid=key.kid, public_key=public_bytes(key.material.public_key()))
            for key in self._keys
            if not isinstance(key.material, bytes)
        ]

    def tokens(self, user: User, session: Session, roles: Sequence[Role]) -> api.Tokens:
        """The newest tokens of a session; a service account's has no refresh token."""
        is_person = user.kind is UserKind.PERSON
        until = session.refreshed_at + self.times.access if is_person else session.expires_at
        permissions = [number(name) for name in permissions_of(user, roles)]
        made = api.Tokens(
            access_token=self._signed(user, session, TokenType.ACCESS, until, permissions),
            access_expires_at=timestamp(until),
        )
        if is_person:
            made.refresh_token = self._signed(user, session, TokenType.REFRESH, session.expires_at, ())
            made.MergeFrom(api.Tokens(refresh_expires_at=timestamp(session.expires_at)))
        return made

    def sealed(self, request: Message) -> Message:
        """The request with its secrets replaced by what only this service can compare, to be remembered."""
        kept = type(request)()
        kept.CopyFrom(request)
        for field, value in request.ListFields():
            if field.GetOptions().debug_redact and isinstance(value, str):
                setattr(kept, field.name, self._seal(value))
        return kept

    def _seal(self, secret: str) -> str:
        material = self._keys[0].material
        key = material if isinstance(material, bytes) else material.private_bytes_raw()
        return hmac(sha256(b"request " + key).digest(), secret.encode(), sha256).hexdigest()

    def _signed(
        self, user: User, session: Session, kind: TokenType, until: datetime, permissions: Sequence[int]
    ) -> str:
        is_access = kind is TokenType.ACCESS
        claims = Claims(
            subject=user.name,
            kind=CallerKind.PERSON if user.kind is UserKind.PERSON else CallerKind.SERVICE,
            roles=user.roles if is_access else (),
            permissions=frozenset(permissions),
            session_id=session.session_id,
            generation=user.generation,
            token_id=ids.derived_id(kind.value, session.session_id, session.rotation),
            type=kind,
            issuer=self._issuer,
            audience=self._audience,
            issued_at=int(session.refreshed_at.timestamp()),
            expires_at=int(until.timestamp()),
            rotation=0 if is_access else session.rotation,
        )
        return signed(claims, self._keys[0])


def number(permission: str) -> options.Permission.ValueType:
    """The contract's number of a permission; 0 where this program doesn't know it."""
    known = options.Permission.DESCRIPTOR.values_by_name.get(PREFIX + permission)
    return options.Permission.ValueType(0 if known is None else known.number)


def name_of(permission: int) -> str:
    """A permission's name as it is kept, such as "READ"."""
    return options.Permission.Name(options.Permission.ValueType(permission)).removeprefix(PREFIX)
