"""Builds what checks tokens, from the settings of `auth`."""

from __future__ import annotations

from collections.abc import Sequence

from alphapanda.mesh.revocations import Revocations
from alphapanda.mesh.tokens import Algorithm, TokenVerifier, VerifyingKey, secret_keys
from alphapanda.settings.auth import AuthSettings


def verifying_keys(auth: AuthSettings) -> Sequence[VerifyingKey]:
    """The keys that the settings give: the secrets of HS256. Those of EdDSA are auth's, which is asked for them.

    Raises:
        InvalidInput: there is no secret, or one is too short.
    """
    if auth.algorithm != Algorithm.HS256:
        return ()
    return [key.verifying for key in secret_keys(auth.secret)]


def token_verifier(auth: AuthSettings, revocations: Revocations) -> TokenVerifier | None:
    """The verifier of a process; None where authentication is off. With EdDSA it knows no key until `replace_keys`.

    Raises:
        InvalidInput: there is no secret, or one is too short.
    """
    if not auth.enabled:
        return None
    return TokenVerifier(verifying_keys(auth), auth.issuer, auth.audience, revocations)
