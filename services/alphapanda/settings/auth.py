"""Settings of authentication: who may call, and how tokens are signed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from alphapanda.settings.section import Seconds, Section


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
    private_key: str = Field(
        "",
        description="of EdDSA, for `serve auth` alone: Ed25519 keys in PEM; the first signs, all of them verify",
        repr=False,
    )
    first_admin_password: str = Field(
        "",
        description="password of the user `admin`, who is created where there is no user yet; empty: none is created",
        repr=False,
    )
    access_minutes: int = Field(30, ge=1, le=24 * 60, description="minutes that an access token is valid")
    refresh_days: int = Field(
        7,
        ge=1,
        le=90,
        description="days that a session lasts without being refreshed; refreshing begins them anew",
    )
    service_token_days: int = Field(
        365, ge=1, le=3650, description="days that a service account's token is valid, at most"
    )
    poll_seconds: Seconds = Field(
        2.0,
        description="between two questions to auth for revocations and public keys, by every other service",
    )
    hashes_at_once: int = Field(
        2, ge=1, le=32, description="passwords checked at once; each takes 64 MiB and a third of a second"
    )
    free_failures: int = Field(
        5,
        ge=1,
        le=100,
        description="wrong passwords of a user from an address before each further try has to wait",
    )
    longest_wait_seconds: int = Field(
        300, ge=1, le=86_400, description="longest wait after many wrong passwords; it doubles from 1 second"
    )
