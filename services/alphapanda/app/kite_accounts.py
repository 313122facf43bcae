"""Which accounts there are at Zerodha: known without importing anything that speaks to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from alphapanda.settings.model import Settings
from alphapanda.settings.zerodha import accounts_of

BROKER_SESSION: Final = "broker-session"
"""Short name of the service that keeps sessions at brokers; it runs in auth's process."""
BROKER_SESSION_SERVICE: Final = "panda.auth.v1.BrokerSessionService"


def kite_accounts(settings: Settings) -> tuple[str, ...]:
    """Our names of the accounts at Zerodha; empty where it isn't used, and then nothing of it is imported."""
    zerodha = settings.zerodha
    return accounts_of(zerodha.accounts, zerodha.api_key, settings.account)


def accounts_of_brokers(settings: Settings, brokers: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Our names of the accounts at these brokers, as the settings name them; where they don't, the deployment's account."""
    zerodha = {"zerodha": kite_accounts(settings)}
    return {broker: zerodha.get(broker) or (settings.account,) for broker in brokers}
