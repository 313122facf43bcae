"""Who calls, and what they may do: one check for every RPC, by the permission that the contract names.

A caller is known by its token (a person or a service account), by its certificate (a service; mTLS), or, where
authentication is off on loopback, as `local`. Nothing else in a call's metadata says who calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from alphapanda.mesh.abort import Context
from alphapanda.mesh.bearer import AUTHORIZATION_KEY
from alphapanda.mesh.errors import PermissionDenied
from alphapanda.mesh.identity import EVERYBODY, NOBODY, Identity, identity_of, identity_of_service
from alphapanda.mesh.tokens import TokenRefused, TokenVerifier, bearer_of
from panda.options.v1 import options_pb2 as options

FOR_ALL: Final = frozenset({options.PERMISSION_PUBLIC, options.PERMISSION_AUTHENTICATED})
Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]


class Access:
    """Decides who may call what.

    Args:
        verifier: checks tokens; None where authentication is off.
        service_of: returns the service that a certificate's URIs stand for; None where they stand for none.
        now: wall time, Unix seconds.
        roles_with: names of the roles that have a permission, for messages.
    """

    def __init__(
        self,
        verifier: TokenVerifier | None,
        service_of: Callable[[Sequence[str]], str | None] = lambda _: None,
        now: Callable[[], float] = lambda: 0.0,
        roles_with: Callable[[int], Sequence[str]] = lambda _: (),
    ) -> None:
        self._verifier = verifier
        self._service_of = service_of
        self._now = now
        self._roles_with = roles_with

    @property
    def authenticates(self) -> bool:
        """Whether callers have to say who they are."""
        return self._verifier is not None

    def identify(self, permission: int, context: Context, metadata: Metadata | None = None) -> Identity:
        """Returns who makes a call of an RPC that needs this permission; `require` says whether the caller has it.

        Args:
            permission: of the contract.
            context: of the call.
            metadata: the call's, where it was read already: each reading makes it anew.

        Raises:
            TokenRefused: it isn't known who calls.
        """
        if self._verifier is None:
            return EVERYBODY
        if permission == options.PERMISSION_PUBLIC:
            return NOBODY
        given = context.invocation_metadata() or () if metadata is None else metadata
        return self._identity(self._verifier, given, context.auth_context)

    def require(self, identity: Identity, permission: int) -> None:
        """Requires that a caller has a permission.

        Raises:
            PermissionDenied: it hasn't.
        """
        if (
            self._verifier is not None
            and permission not in FOR_ALL
            and permission not in identity.permissions
        ):
            raise self._denied(identity, permission)

    def _identity(
        self,
        verifier: TokenVerifier,
        metadata: Metadata,
        certificate: Callable[[], Mapping[str, Iterable[bytes]]],
    ) -> Identity:
        given = [value for key, value in metadata if key == AUTHORIZATION_KEY]
        if not given:
            service = self._service_of(_uris(certificate()))
            if service is not None:
                return identity_of_service(service)
        if len(given) > 1:
            raise TokenRefused("TOKEN_INVALID", "the call has several tokens (authorization); send one")
        return identity_of(verifier.verify(bearer_of(given[0] if given else None), self._now()))

    def _denied(self, identity: Identity, permission: int) -> PermissionDenied:
        name = permission_name(permission)
        who = f"{identity.caller} ({', '.join(identity.roles) or 'no role'})"
        if permission == options.PERMISSION_INTERNAL:
            why = f"this call is for services alone ({name}), and {who} is none"
        else:
            having = self._roles_with(permission)
            why = f"this call needs the permission {name}, which {who} lacks"
            why += f"; {', '.join(having)} {'has' if len(having) == 1 else 'have'} it" if having else ""
        return PermissionDenied("PERMISSION_MISSING", why, permission=name, caller=identity.caller)


def permission_name(permission: int) -> str:
    """Name of a permission without its prefix, such as "MANAGE_RISK"."""
    names = options.Permission.DESCRIPTOR.values_by_number
    return str(names[permission].name).removeprefix("PERMISSION_") if permission in names else str(permission)


def _uris(certificate: Mapping[str, Iterable[bytes]]) -> list[str]:
    """The URIs among the subject's alternative names. A DNS name or an address of mail that reads like one is none."""
    return [uri.decode(errors="replace") for uri in certificate.get("peer_uri", ())]


NO_AUTHENTICATION: Final = Access(None)
