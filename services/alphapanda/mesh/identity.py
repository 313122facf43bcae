"""Who calls: set by the server's guard for each call, read by servicers that need more than the caller's name."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from alphapanda.mesh.caller import LOCAL
from alphapanda.mesh.tokens import CallerKind, Claims
from panda.options.v1 import options_pb2 as options

ANONYMOUS: Final = "anonymous"
"""The caller of an RPC that needs no token."""
OF_SERVICES: Final = frozenset({options.PERMISSION_READ, options.PERMISSION_INTERNAL})
"""Permissions of a service that its certificate names."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls.

    Attributes:
        caller: name in rows, events and logs: "local", a user's name, or "service:NAME".
        kind: a person or a service; None for `local` and for who isn't known.
        permissions: values of the contract's Permission; `local` has all of them.
        claims: of its token; None where it has none.
    """

    caller: str
    kind: CallerKind | None = None
    permissions: frozenset[int] = frozenset()
    claims: Claims | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """Names of its roles."""
        return () if self.claims is None else self.claims.roles


EVERYBODY: Final = Identity(LOCAL)
NOBODY: Final = Identity(ANONYMOUS)

current_identity: ContextVar[Identity] = ContextVar("current_identity", default=EVERYBODY)


def identity_of(claims: Claims) -> Identity:
    """The identity of a valid token. A person never has PERMISSION_INTERNAL, whatever the token says."""
    if claims.kind is CallerKind.SERVICE:
        return Identity(f"service:{claims.subject}", claims.kind, claims.permissions, claims)
    permissions = claims.permissions - {options.PERMISSION_INTERNAL}
    return Identity(claims.subject, claims.kind, permissions, claims)


def identity_of_service(service: str) -> Identity:
    """The identity of a service that its certificate names."""
    return Identity(f"service:{service}", CallerKind.SERVICE, OF_SERVICES)
