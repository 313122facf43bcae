"""What a broker's login needs, as the broker's own code gives it (`kite/login.py`)."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from alphapanda.domain.broker_credentials import Credentials


class BrokerLogin(Protocol):
    """Logins to one account of a broker."""

    @property
    def callback_url(self) -> str:
        """Where the broker sends the person to afterwards."""

    def login_url(self, state: str) -> str:
        """The address of the login page, which brings `state` back."""

    def valid_until(self, now: datetime) -> datetime:
        """When a session is over that begins now."""

    async def exchange(self, request_token: str) -> Credentials:
        """Exchanges what the login page has sent back for a session.

        Raises:
            LoginRefused: the broker refuses it: it was used, is too old, or the app's secret is wrong.
            BrokerAway: nobody answers, or not in a way that can be read.
        """

    async def end(self, credentials: Credentials) -> None:
        """Ends a session at the broker.

        Raises:
            LoginRefused: the broker refuses it; the session is over there, as far as it says.
            BrokerAway: nobody answers.
        """
