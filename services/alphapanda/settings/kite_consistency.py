"""Finds settings of Zerodha that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.loopback import is_loopback
from alphapanda.mesh.secret_text import parsed_secrets
from alphapanda.settings.disagreement import Disagreement
from alphapanda.settings.zerodha import ZerodhaSettings, accounts_of

_LIMITS = ("max_order_value", "max_daily_loss", "max_daily_trades")
"""The limits without which nothing trades with real money."""
_ADDRESSES = ("login_root", "api_root", "ws_root")


def kite_disagreements(
    zerodha: ZerodhaSettings, account: str, active_brokers: Sequence[str]
) -> Iterator[Disagreement]:
    """Yields every contradiction in the section `zerodha`.

    Args:
        zerodha: the section.
        account: the deployment's setting `account`.
        active_brokers: names of the active brokers.
    """
    accounts = accounts_of(zerodha.accounts, zerodha.api_key, account)
    if accounts and "zerodha" not in active_brokers:
        yield Disagreement(
            ("zerodha.accounts", "zerodha.api_key", "active_brokers"),
            "zerodha has an account or a key and needs 'zerodha' in active_brokers",
        )
    if zerodha.enabled and "zerodha" in active_brokers:
        yield from _unfit_to_trade(zerodha, accounts)
    if bool(zerodha.api_keys) is not bool(zerodha.api_secrets):
        there, missing = ("api_key", "api_secret") if zerodha.api_keys else ("api_secret", "api_key")
        yield Disagreement(
            ("zerodha.api_key", "zerodha.api_secret"),
            f"zerodha.{there} needs zerodha.{missing}, which is empty: both are on the app's page at Zerodha's developer"
            " console",
        )
    for name, values in (("api_key", zerodha.api_keys), ("api_secret", zerodha.api_secrets)):
        if values and len(values) != len(accounts):
            yield Disagreement(
                (f"zerodha.{name}", "zerodha.accounts"),
                f"zerodha.{name} has {len(values)} values for {len(accounts)} accounts ({', '.join(accounts)}): one for"
                " each, in their order, with commas between",
            )
    if zerodha.session_key:
        try:
            parsed_secrets(zerodha.session_key, "zerodha.session_key")
        except InvalidInput as refused:
            yield Disagreement(
                ("zerodha.session_key",), f"zerodha.session_key {refused.value}: {refused.allowed}"
            )
    for name in _ADDRESSES:
        url = urlsplit(getattr(zerodha, name))
        if url.scheme in {"http", "ws"} and not is_loopback(url.hostname or ""):
            yield Disagreement(
                (f"zerodha.{name}",),
                f"zerodha.{name} {url.geturl()!r} is not encrypted, and keys and tokens would be read on the way: begin it"
                f" with {url.scheme}s://",
            )


def _unfit_to_trade(zerodha: ZerodhaSettings, accounts: Sequence[str]) -> Iterator[Disagreement]:
    if not accounts:
        yield Disagreement(
            ("zerodha.enabled", "zerodha.accounts", "zerodha.api_key", "active_brokers"),
            "zerodha.enabled needs an account at Zerodha: set zerodha.api_key and zerodha.api_secret, or zerodha.accounts",
        )
    unset = [f"zerodha.{name}" for name in _LIMITS if getattr(zerodha, name) is None]
    if unset:
        yield Disagreement(
            ("zerodha.enabled", "active_brokers", *unset),
            f"zerodha.enabled needs {', '.join(unset)}: orders with real money have limits that you have chosen",
        )
