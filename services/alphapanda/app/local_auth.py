"""Authentication of `alphapanda up`: a secret of its own in the data directory, and a password for the first administrator."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.app.kite_accounts import kite_accounts
from alphapanda.app.security import ProcessSecurity, open_security
from alphapanda.auth.store.postgres import PostgresAuthStore
from alphapanda.domain.errors import InvalidInput
from alphapanda.embedded.layout import Layout
from alphapanda.mesh.identity import OF_SERVICES
from alphapanda.settings.model import Settings
from panda.options.v1 import options_pb2 as options

AUTH_OFF: Final = (
    "authentication is off: everybody on this machine may trade; `alphapanda up --auth` has callers sign in"
)
AUTH_OFF_NOW: Final = (
    "authentication is off, although it was on in this data directory before: everybody on this machine may trade, and nobody"
    " signs in; start it again with `alphapanda up --auth`"
)
OF_UP: Final = OF_SERVICES | {options.PERMISSION_MANAGE_STRATEGIES}
"""Permissions of this process's own calls: those of services, and what the demo creates."""
SECRET_BYTES: Final = 48
PASSWORD_BYTES: Final = 15


def open_up_security(
    settings: Settings, *, auth: bool, layout: Layout | None = None
) -> tuple[Settings, ProcessSecurity]:
    """Opens the security of `alphapanda up`; returns the settings with the secret that it uses, too.

    Args:
        settings: all settings.
        auth: whether callers sign in although the settings don't say so.
        layout: the data directory, which is locked; None before that: nothing is written, what can't be used is refused.

    Raises:
        InvalidInput: a file can't be used, or other machines would be served without TLS and authentication.
    """
    if auth and layout is not None:
        settings = with_local_secret(settings, layout)
    elif auth:
        settings = with_auth(settings, secret=settings.auth.secret or secrets.token_urlsafe(SECRET_BYTES))
    return settings, open_security(settings, "up", OF_UP)


def auth_off(layout: Layout) -> str:
    """What to tell where authentication is off: a data directory whose users once signed in is no ordinary one."""
    return AUTH_OFF_NOW if layout.auth_secret.exists() else AUTH_OFF


def with_auth(settings: Settings, **more: str) -> Settings:
    """The settings with authentication on, and these of `auth`."""
    auth = settings.auth.model_copy(update={"enabled": True, **more})
    return settings.model_copy(update={"auth": auth})


def with_local_secret(settings: Settings, layout: Layout) -> Settings:
    """The settings with authentication on and a secret: their own, else the data directory's, made where there is none.

    Raises:
        InvalidInput: others may read the secret, or it can't be used.
    """
    if settings.auth.secret:
        return with_auth(settings)
    if not layout.auth_secret.exists():
        write_secret(layout, layout.auth_secret)
    return with_auth(settings, secret=local_secret(layout.auth_secret))


def with_known_secret(settings: Settings, layout: Layout) -> Settings:
    """The settings as those of the `up` that runs in this data directory, for who may read its secret; else unchanged."""
    if settings.auth.enabled or not layout.auth_secret.exists():
        return settings
    return with_auth(settings, secret=local_secret(layout.auth_secret))


def with_session_key(settings: Settings, layout: Layout) -> Settings:
    """The settings with a key for access tokens at Zerodha: their own, else the data directory's, made where there is none.

    Raises:
        InvalidInput: others may read the key, or it can't be used.
    """
    if settings.zerodha.session_key or not kite_accounts(settings):
        return settings
    if not layout.session_key.exists():
        write_secret(layout, layout.session_key)
    zerodha = settings.zerodha.model_copy(update={"session_key": local_secret(layout.session_key)})
    return settings.model_copy(update={"zerodha": zerodha})


def local_secret(file: Path) -> str:
    """A secret of the data directory.

    Raises:
        InvalidInput: others may read it, or it can't be read.
    """
    try:
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InvalidInput("secret", file, f"a file that its owner alone may read: chmod 600 {file}")
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("secret", file, f"a file that can be read ({error})") from None


async def with_first_admin(settings: Settings, engine: AsyncEngine) -> tuple[Settings, str]:
    """The settings with a password for the first administrator, and that password to show; empty where none is made.

    Args:
        settings: all settings.
        engine: the database, migrated.
    """
    if not settings.auth.enabled or settings.auth.first_admin_password:
        return settings, ""
    async with PostgresAuthStore(engine).reading() as reads:
        if await reads.has_person():
            return settings, ""
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    return with_auth(settings, first_admin_password=password), password


def write_secret(layout: Layout, file: Path) -> None:
    """Writes a new secret of the data directory, whole or not at all."""
    layout.secrets.mkdir(mode=0o700, exist_ok=True)
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(f"{secrets.token_urlsafe(SECRET_BYTES)}\n")
    part.replace(file)
