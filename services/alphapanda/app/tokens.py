"""Builds what checks tokens, from the settings of `auth`."""

from __future__ import annotations

from collections.abc import Sequence

from alphapanda.mesh.revocations import Revocations
from alphapanda.mesh.signing_keys import Algorithm, SigningKey, VerifyingKey, private_keys, secret_keys
from alphapanda.mesh.tokens import TokenVerifier
from alphapanda.settings.auth import AuthSettings


def verifying_keys(auth: AuthSettings) -> Sequence[VerifyingKey]:
    """The keys that the settings give: secrets of HS256, of EdDSA those that auth's own process has. Others ask auth for them.

    Raises:
        InvalidInput: there is no secret, or one is too short.
    """
    return [key.verifying for key in signing_keys(auth)]


def signing_keys(auth: AuthSettings) -> Sequence[SigningKey]:
    """The keys that this process may sign tokens with, the newest first; none where only auth has them (EdDSA).

    Raises:
        InvalidInput: there is no secret, one is too short, or a private key can't be read.
    """
    if auth.algorithm == Algorithm.HS256:
        return secret_keys(auth.secret)
    return private_keys(auth.private_key) if auth.private_key else ()


def token_verifier(auth: AuthSettings, revocations: Revocations) -> TokenVerifier | None:
    """The verifier of a process; None where authentication is off. With EdDSA it knows no key until `replace_keys`.

    Raises:
        InvalidInput: there is no secret, or one is too short.
    """
    if not auth.enabled:
        return None
    return TokenVerifier(verifying_keys(auth), auth.issuer, auth.audience, revocations)
