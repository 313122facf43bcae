"""Settings of authentication: who may call, and how tokens are signed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from alphapanda.settings.section import Section


class AuthSettings(Section):
    """Users, tokens and permissions. There is no default key: with auth on, nothing starts without one."""

    enabled: bool = Field(
        default=False,
        description="whether each call needs a token and its permission; false: everybody may do everything, on loopback only",
    )
    issuer: str = Field("alphapanda", min_length=1, max_length=100, description="who issues tokens (`iss`)")
    audience: str = Field(
        "alphapanda",
        min_length=1,
        max_length=100,
        description="whom tokens are for (`aud`); each deployment has its own, so that none takes another's",
    )
    algorithm: Literal["HS256", "EdDSA"] = Field(
        "HS256",
        description="how tokens are signed; HS256: by a secret that every service has, EdDSA: by a key that only auth has",
    )
    secret: str = Field(
        "",
        description="of HS256, at least 32 bytes; several with commas between: the first signs, all of them verify",
        repr=False,
    )
    token_file: Path | None = Field(
        None,
        description="file with the access token that this process or command sends, such as a service account's; read"
        " again when it changes; empty: services sign their own (HS256) or show their certificate, commands use that of"
        " `alphapanda login`",
    )
