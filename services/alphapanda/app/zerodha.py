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
from alphapanda.settings.model import Settings

CALLERS: Final = frozenset({"marketdata", "instruments", "trading"})
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
    require_extra(resources.settings)
    from alphapanda.app.kite_parts import kite_parts  # noqa: PLC0415 - only where Zerodha is used
    from alphapanda.app.rooms.kite_sessions import broker_session_room  # noqa: PLC0415

    if calls:
        resources = replace(resources, kite=kite_parts(resources, caller))
    return resources, [broker_session_room(resources)] if logins else []
