"""Turns the settings of Zerodha into options of what speaks to Kite; imported only where Zerodha is used."""

from __future__ import annotations

from collections.abc import Mapping

from alphapanda.app.kite_accounts import kite_accounts
from alphapanda.kite.options import KiteApp, KiteOptions, OrderBudgets, ReconnectionOptions
from alphapanda.mesh.secret_text import parsed_secrets
from alphapanda.settings.model import Settings
from alphapanda.settings.zerodha import parts_of


def kite_options(settings: Settings) -> KiteOptions:
    """Addresses, time-outs and limits."""
    zerodha = settings.zerodha
    reconnection = settings.reconnection
    return KiteOptions(
        login_root=zerodha.login_root,
        api_root=zerodha.api_root,
        ws_root=zerodha.ws_root,
        connect_timeout_seconds=zerodha.connect_timeout_seconds,
        read_timeout_seconds=zerodha.read_timeout_seconds,
        ipv4_only=zerodha.ipv4_only,
        budgets=OrderBudgets(
            per_second=zerodha.orders_per_second,
            per_minute=zerodha.orders_per_minute,
            per_day=zerodha.orders_per_day,
            kept_percent=zerodha.kept_for_exits_percent,
        ),
        reconnection=ReconnectionOptions(
            max_attempts=reconnection.max_attempts,
            base_delay_seconds=reconnection.base_delay_seconds,
            backoff_multiplier=reconnection.backoff_multiplier,
            max_delay_seconds=reconnection.max_delay_seconds,
            timeout_seconds=reconnection.timeout_seconds,
        ),
    )


def kite_apps(settings: Settings) -> Mapping[str, KiteApp]:
    """The apps whose keys this process has, by account."""
    zerodha = settings.zerodha
    apps = zip(kite_accounts(settings), parts_of(zerodha.api_key), parts_of(zerodha.api_secret), strict=False)
    return {account: KiteApp(account, key, secret) for account, key, secret in apps}


def kite_session_keys(settings: Settings) -> list[bytes]:
    """The keys of access tokens; the first encrypts.

    Raises:
        InvalidInput: there is none, or one is too short.
    """
    return parsed_secrets(settings.zerodha.session_key, "zerodha.session_key")
