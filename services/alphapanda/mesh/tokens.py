"""Tokens: what one claims, how it is signed, and whether it is valid here. No I/O and no clock.

A token is a JWT (RFC 7519), signed with HS256 by a secret that every service has, or with EdDSA (Ed25519) by a key that
only auth has. Its header names the key (`kid`). A refusal is a TokenRefused with one of five reasons:

TOKEN_MISSING     the call came without one
TOKEN_EXPIRED     it was valid; a new one is fetched with the refresh token
TOKEN_REVOKED     its session was ended, or its user disabled; sign in again
TOKEN_WRONG_TYPE  a refresh token where an access token belongs, or the other way round
TOKEN_INVALID     all else: not a token, another algorithm or none, an unknown key, a wrong signature, issuer or audience
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, cast

import jwt

from alphapanda.mesh.errors import Unauthenticated
from alphapanda.mesh.revocations import Revocations, Standing
from alphapanda.mesh.signing_keys import SigningKey, VerifyingKey
from panda.options.v1 import options_pb2 as options

LONGEST_TOKEN: Final = 8 * 1024
"""Characters of a token that is looked at."""
LEEWAY_SECONDS: Final = 10.0
"""How far the clocks of the issuer and of this machine may differ: a token is valid so much longer, and so much earlier."""
MOST_CACHED: Final = 10_000
"""Tokens whose signature isn't checked again."""
OWN_SESSION: Final = "own-"
"""How the session of a token begins that a service signs for itself; those of users are UUIDs."""
_PREFIX: Final = "PERMISSION_"
_BEARER: Final = "bearer "
_REQUIRED: Final = ("iss", "aud", "sub", "kind", "sid", "jti", "typ", "iat", "exp")


class TokenType(StrEnum):
    """What a token is for."""

    ACCESS = "access"
    REFRESH = "refresh"


class CallerKind(StrEnum):
    """Who a caller is."""

    PERSON = "person"
    SERVICE = "service"


class TokenRefused(Unauthenticated):
    """A token that isn't accepted; `reason` is one of the five of this module."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says of its bearer.

    Attributes:
        subject: name of the user or service account.
        kind: a person or a service.
        roles: names of its roles when the token was issued.
        permissions: what the roles permitted then, values of the contract's Permission.
        session_id: the session (family of tokens) that it belongs to.
        generation: rises with each change of its user that makes older tokens stale.
        token_id: unique id of the token.
        type: access or refresh.
        rotation: of a refresh token: how often the session was refreshed before it; else 0.
        issuer: who issued it.
        audience: whom it is for.
        issued_at: wall time, Unix seconds.
        expires_at: wall time, Unix seconds.
    """

    subject: str
    kind: CallerKind
    roles: tuple[str, ...]
    permissions: frozenset[int]
    session_id: str
    generation: int
    token_id: str
    type: TokenType
    issuer: str
    audience: str
    issued_at: int
    expires_at: int
    rotation: int = 0


def signed(claims: Claims, key: SigningKey) -> str:
    """The token of these claims. The same claims and key make the same token."""
    payload: dict[str, Any] = {
        "iss": claims.issuer,
        "aud": claims.audience,
        "sub": claims.subject,
        "kind": claims.kind.value,
        "roles": list(claims.roles),
        "permissions": sorted(
            options.Permission.Name(cast("Any", one)).removeprefix(_PREFIX) for one in claims.permissions
        ),
        "sid": claims.session_id,
        "gen": claims.generation,
        "jti": claims.token_id,
        "typ": claims.type.value,
        "iat": claims.issued_at,
        "exp": claims.expires_at,
    }
    if claims.type is TokenType.REFRESH:
        payload["rot"] = claims.rotation
    return jwt.encode(payload, key.material, key.algorithm.value, {"kid": key.kid})


def bearer_of(authorization: str | bytes | None) -> str:
    """The token in a call's `authorization`.

    Raises:
        TokenRefused: there is none (TOKEN_MISSING).
    """
    text = authorization.decode(errors="replace") if isinstance(authorization, bytes) else authorization or ""
    if text[: len(_BEARER)].lower() != _BEARER or not text[len(_BEARER) :].strip():
        raise TokenRefused(
            "TOKEN_MISSING",
            "this call needs an access token: `alphapanda login` gets one for commands, `alphapanda token` prints it for others",
        )
    return text[len(_BEARER) :].strip()


class TokenVerifier:
    """Says whether a token is valid here, and what it claims.

    The signature of a token is checked once; expiry and revocation at every call.

    Args:
        keys: the keys whose signatures count.
        issuer: who must have issued a token.
        audience: whom a token must be for.
        revocations: what was revoked; others keep it up to date.
        leeway_seconds: how far the issuer's clock may differ.
        most_cached: tokens whose signature isn't checked again; beyond, the oldest is forgotten.
    """

    def __init__(
        self,
        keys: Iterable[VerifyingKey],
        issuer: str,
        audience: str,
        revocations: Revocations,
        leeway_seconds: float = LEEWAY_SECONDS,
        most_cached: int = MOST_CACHED,
    ) -> None:
        self._keys: Mapping[str, VerifyingKey] = {key.kid: key for key in keys}
        self._issuer = issuer
        self._audience = audience
        self._revocations = revocations
        self._leeway = leeway_seconds
        self._most_cached = most_cached
        self._cache: OrderedDict[bytes, Claims] = OrderedDict()

    def replace_keys(self, keys: Iterable[VerifyingKey]) -> None:
        """Sets the keys whose signatures count from now on; tokens of another key are invalid at once."""
        new = {key.kid: key for key in keys}
        if new.keys() != self._keys.keys():
            self._cache.clear()
        self._keys = new

    @property
    def cached(self) -> int:
        """Number of tokens whose signature isn't checked again."""
        return len(self._cache)

    def verify(self, token: str, now: float, wanted: TokenType = TokenType.ACCESS) -> Claims:
        """Returns what a valid token claims.

        Args:
            token: the token.
            now: wall time, Unix seconds.
            wanted: the type that is needed.

        Raises:
            TokenRefused: it isn't valid; `reason` says why.
        """
        if len(token) > LONGEST_TOKEN or not token.isascii():
            raise _invalid("malformed")
        digest = sha256(token.encode()).digest()
        claims = self._cache.get(digest)
        if claims is None:
            claims = self._decoded(token)
            if now < claims.issued_at - self._leeway:
                raise _invalid(
                    "issued_at", f"it was issued {claims.issued_at - now:.0f} s ahead of this machine's clock"
                )
            if now < claims.expires_at + self._leeway:
                self._remember(digest, claims)
        if now >= claims.expires_at + self._leeway:
            self._cache.pop(digest, None)
            raise TokenRefused("TOKEN_EXPIRED", "the token has expired; refresh it, or sign in again")
        if claims.type is not wanted:
            raise TokenRefused(
                "TOKEN_WRONG_TYPE",
                f"this is no {wanted} token but a {claims.type} token",
                wanted=wanted.value,
                given=claims.type.value,
            )
        self._require_standing(claims)
        return claims

    def _require_standing(self, claims: Claims) -> None:
        if claims.kind is CallerKind.SERVICE and claims.session_id.startswith(OWN_SESSION):
            return  # it is no user's: what is revoked of a user who has a service's name doesn't concern it
        match self._revocations.standing(claims.session_id, claims.subject, claims.generation):
            case Standing.STALE if claims.type is TokenType.ACCESS:
                raise TokenRefused(
                    "TOKEN_EXPIRED", "the roles of the user have changed since; refresh the token"
                )
            case Standing.REVOKED:
                raise TokenRefused(
                    "TOKEN_REVOKED", "the token was revoked: its session was ended or its user disabled"
                )
            case _:
                return

    def _remember(self, digest: bytes, claims: Claims) -> None:
        if len(self._cache) >= self._most_cached:
            self._cache.popitem(last=False)
        self._cache[digest] = claims

    def _decoded(self, token: str) -> Claims:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise _invalid("malformed") from None
        kid = header.get("kid")
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if "crit" in header or (key is not None and header.get("alg") != key.algorithm.value):
            raise _invalid("algorithm")
        if key is None:
            raise _invalid("key")
        try:
            payload = jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm.value],
                issuer=self._issuer,
                audience=self._audience,
                options={
                    "require": list(_REQUIRED),
                    "strict_aud": True,
                    # Times are checked against the caller's clock.
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidSignatureError:
            raise _invalid("signature") from None
        except jwt.InvalidAudienceError:
            raise _invalid("audience") from None
        except jwt.InvalidIssuerError:
            raise _invalid("issuer") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise _invalid("claims") from None
        return _claims(payload)


def _claims(payload: Mapping[str, Any]) -> Claims:
    """The claims of a payload whose signature was checked."""
    try:
        return Claims(
            subject=_text(payload["sub"]),
            kind=CallerKind(payload["kind"]),
            roles=tuple(_text(one) for one in payload.get("roles", ())),
            permissions=frozenset(_permissions(payload.get("permissions", ()))),
            session_id=_text(payload["sid"]),
            generation=_number(payload.get("gen", 0)),
            token_id=_text(payload["jti"]),
            type=TokenType(payload["typ"]),
            issuer=_text(payload["iss"]),
            audience=_text(payload["aud"]),
            issued_at=_number(payload["iat"]),
            expires_at=_number(payload["exp"]),
            rotation=_number(payload.get("rot", 0)),
        )
    except (KeyError, ValueError, TypeError):
        raise _invalid("claims") from None


def _permissions(names: Iterable[object]) -> Iterable[int]:
    """Permissions by name; one that this program doesn't know permits nothing here."""
    for name in names:
        number = options.Permission.DESCRIPTOR.values_by_name.get(f"{_PREFIX}{_text(name)}")
        if number is not None:
            yield number.number


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("no text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("no whole number")
    return value


def _invalid(cause: str, why: str = "") -> TokenRefused:
    message = f"the token is not valid here ({why or cause})" + ("" if why else "; sign in again")
    return TokenRefused("TOKEN_INVALID", message, cause=cause)
