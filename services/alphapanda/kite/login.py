"""Logins to Kite: the login page's address, the exchange of its request token with a checksum, and the end of a session."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from alphapanda.domain.broker_credentials import BrokerAway, Credentials, LoginRefused
from alphapanda.kite.client import CallFailed, KiteThreads
from alphapanda.kite.options import KiteApp, KiteOptions
from alphapanda.kite.outcomes import KiteReason, judged
from alphapanda.kite.session import expiry_of

LOGIN_SECONDS: Final = 10.0
VERSION: Final = "3"
"""Of Kite Connect, in the login page's address."""


class KiteLogin:
    """Logins to one account at Zerodha.

    Args:
        options: addresses and time-outs.
        app: the account's app.
        callback_url: where Zerodha sends the person to afterwards, as its developer console has it.
        threads: call Kite.
    """

    def __init__(self, options: KiteOptions, app: KiteApp, callback_url: str, threads: KiteThreads) -> None:
        self._options = options
        self._app = app
        self._callback_url = callback_url
        self._threads = threads

    @property
    def callback_url(self) -> str:
        """Where Zerodha sends the person to afterwards."""
        return self._callback_url

    def login_url(self, state: str) -> str:
        """The address of the login page, which brings `state` back."""
        back = urlencode({"state": state})
        query = urlencode({"v": VERSION, "api_key": self._app.api_key, "redirect_params": back})
        return f"{self._options.login_root}/connect/login?{query}"

    def valid_until(self, now: datetime) -> datetime:
        """When a session is over that begins now."""
        return expiry_of(now)

    async def exchange(self, request_token: str) -> Credentials:
        """Exchanges a request token for a session.

        Raises:
            LoginRefused: Zerodha refuses it.
            BrokerAway: Zerodha doesn't answer, or not in a way that can be read.
        """
        secret = self._app.api_secret

        def exchanged(kite: Any) -> tuple[str, str]:
            answer = kite.generate_session(request_token, secret)
            return str(answer["access_token"]), str(answer["user_id"])

        try:
            access_token, user_id = await self._threads.call(exchanged, self._app.api_key, None)
        except CallFailed as error:
            raise _told(error) from None
        return Credentials(self._app.api_key, access_token, user_id)

    async def end(self, credentials: Credentials) -> None:
        """Ends a session at Zerodha.

        Raises:
            LoginRefused: Zerodha refuses it.
            BrokerAway: Zerodha doesn't answer, or not in a way that can be read.
        """
        try:
            await self._threads.call(
                lambda kite: kite.invalidate_access_token(), credentials.api_key, credentials.access_token
            )
        except CallFailed as error:
            raise _told(error) from None


def _told(error: CallFailed) -> LoginRefused | BrokerAway:
    judgement, words = judged(error.failure), error.failure.message
    status = error.failure.status
    if judgement.reason in {KiteReason.UNREACHABLE, KiteReason.NO_ANSWER, KiteReason.BROKER_FAILED}:
        return BrokerAway(f"Zerodha doesn't answer as it should ({words})")
    return LoginRefused(f"Zerodha has refused it: {words} (HTTP {status})")
