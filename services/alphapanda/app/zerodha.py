"""Adds Zerodha to a process where it is used; where it isn't, nothing that speaks to it is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Final

from alphapanda.app.kite_accounts import kite_accounts
from alphapanda.app.process import Room
from alphapanda.app.resources import ProcessResources
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.secret_text import parsed_secrets
from alphapanda.settings.model import Settings

CALLERS: Final = frozenset({"marketdata", "instruments", "trading", "portfolio"})
"""Services that call Zerodha."""


def require_extra(settings: Settings) -> None:
    """Requires what speaks to Zerodha, where it is used.

    Raises:
        InvalidInput: it isn't installed.
    """
    if kite_accounts(settings) and find_spec("kiteconnect") is None:
        raise InvalidInput(
            "zerodha.accounts",
            ", ".join(kite_accounts(settings)),
            "the package kiteconnect, which is missing: install alphapanda[zerodha], or leave zerodha.api_key and"
            " zerodha.accounts empty",
        )


def require_keys_of(settings: Settings, services: Sequence[str]) -> None:
    """Requires what these services need for Zerodha, where it is used, before anything is opened.

    Args:
        settings: all settings.
        services: short names of the services of this process; `up` makes a session key of its own and is asked for "up".

    Raises:
        InvalidInput: the extra isn't installed, or a key is missing.
    """
    accounts, zerodha = kite_accounts(settings), settings.zerodha
    if not accounts:
        return
    require_extra(settings)
    if not CALLERS.isdisjoint(services) or "auth" in services:
        parsed_secrets(zerodha.session_key, "zerodha.session_key")
    if {"auth", "up"} & {*services} and not zerodha.api_key:
        raise InvalidInput(
            "zerodha.api_key",
            "",
            f"key and secret of the app at Zerodha, one for each account ({', '.join(accounts)}), with commas between",
        )


def with_zerodha(
    resources: ProcessResources, caller: str, *, calls: bool = True, logins: bool
) -> tuple[ProcessResources, Sequence[Room]]:
    """The resources with what calls Zerodha, and the room that keeps its sessions; unchanged and none where it isn't used.

    Args:
        resources: shared by the services of the process.
        caller: short name of the service whose calls they are.
        calls: whether a service of this process calls Zerodha.
        logins: whether this process keeps the sessions, as auth's and `up` do.

    Raises:
        InvalidInput: a key is missing, or the extra `zerodha`.
    """
    if not kite_accounts(resources.settings):
        return resources, ()
    from alphapanda.app.kite_parts import kite_parts  # noqa: PLC0415 - only where Zerodha is used
    from alphapanda.app.rooms.kite_sessions import broker_session_room  # noqa: PLC0415

    if calls:
        resources = replace(resources, kite=kite_parts(resources, caller))
    return resources, [broker_session_room(resources)] if logins else []
