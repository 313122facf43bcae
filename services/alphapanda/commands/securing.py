"""How commands connect: options and settings that name certificates and a token.

An option stands above its setting. Settings are read only where there are some, because reading them takes time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from alphapanda.commands.console import USAGE, fail, refuse
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.bearer import TokenFile
from alphapanda.mesh.security import PLAINTEXT, ChannelSecurity
from alphapanda.mesh.tls import TlsFiles, TlsMaterial

if TYPE_CHECKING:
    from alphapanda.settings.model import Settings

SYSTEM: Final = "system"
_META: Final = "alphapanda.security"
_SETTINGS_OF: Final = ("ALPHAPANDA_TLS__", "ALPHAPANDA_AUTH__", "ALPHAPANDA_CONFIG")
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


def security_options(command: Any) -> Any:
    """Adds --ca, --cert, --cert-key and --token-file; `security_of` reads them."""
    options = (
        click.option(
            "--ca",
            metavar="FILE",
            help="connect with TLS and trust this authority (PEM), or `system`: those that the system trusts"
            "  [default: tls.ca]",
            **_kept("ca"),
        ),
        click.option(
            "--cert",
            type=_FILE,
            help="client certificate (PEM)  [default: tls.certificate]",
            **_kept("certificate"),
        ),
        click.option(
            "--cert-key", type=_FILE, help="its private key (PEM)  [default: tls.key]", **_kept("key")
        ),
        click.option(
            "--token-file",
            type=_FILE,
            help="file with the access token to send  [default: auth.token_file]",
            **_kept("token_file"),
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def security_of(ctx: click.Context, settings: Settings | None) -> ChannelSecurity:
    """How to connect, of the options and these settings (read where None and there are some); files that can't be used end the command."""
    given: Mapping[str, Any] = ctx.meta.get(_META, {})
    if settings is None and _has_settings():
        settings = _settings()
    if settings is None and not given:
        return PLAINTEXT
    tls = None if settings is None else settings.tls
    ca: Any = given.get("ca") or (None if tls is None else tls.ca)
    certificate: Path | None = given.get("certificate") or (None if tls is None else tls.certificate)
    key: Path | None = given.get("key") or (None if tls is None else tls.key)
    authority = None if ca in {None, SYSTEM} else Path(ca)
    token_file: Path | None = given.get("token_file") or (
        None if settings is None else settings.auth.token_file
    )
    try:
        return ChannelSecurity(
            tls=TlsMaterial(TlsFiles(certificate, key, authority)) if ca or certificate or key else None,
            token=None if token_file is None else TokenFile(token_file, "auth.token_file"),
        )
    except InvalidInput as error:
        options = {
            "tls.ca": "--ca",
            "tls.certificate": "--cert",
            "tls.key": "--cert-key",
            "auth.token_file": "--token-file",
        }
        name = options[error.field]
        fail(str(InvalidInput(f"{name} (setting {error.field})", error.value, error.allowed)), USAGE)


def _has_settings() -> bool:
    return any(name.upper().startswith(_SETTINGS_OF) for name in os.environ) or Path(".env").is_file()


def _settings() -> Settings:
    from alphapanda.settings.sources import SettingsInvalid, load_settings

    try:
        return load_settings(os.environ, dotenv=Path(".env"))
    except SettingsInvalid as error:
        refuse(error.problems)


def _kept(name: str) -> dict[str, Any]:
    """The option's value is kept in the command's context, before --target needs it."""

    def keep(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value is not None:
            ctx.meta.setdefault(_META, {})[name] = value

    return {"is_eager": True, "expose_value": False, "callback": keep}
