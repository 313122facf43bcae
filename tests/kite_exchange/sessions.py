"""Apps, logins and access tokens."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.kite_exchange.clock import SECOND_NS, Clock
from tests.kite_exchange.errors import KiteError, bad_input, dead_session

_REQUEST_TOKEN_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class App:
    """An app of a user, as the developer console has it.

    Attributes:
        api_key: its public name.
        api_secret: what checksums are made with.
        user_id: the account that it trades.
        redirect_url: where a login ends.
        postback_url: where order updates are sent; empty: nowhere.
        allowed_ips: the addresses that may place orders; None: all of them.
    """

    api_key: str
    api_secret: str
    user_id: str = "AB1234"
    redirect_url: str = "http://127.0.0.1:5017/kite/callback"
    postback_url: str = ""
    allowed_ips: frozenset[str] | None = None


@dataclass(slots=True)
class _Session:
    api_key: str
    until_ns: int


@dataclass(slots=True)
class Sessions:
    """Who is logged in. A new login of an app ends its earlier session.

    Attributes:
        apps: by api_key.
        clock: the exchange's clock.
        logins: how many access tokens were made.
    """

    apps: dict[str, App]
    clock: Clock
    logins: int = 0
    _request_tokens: dict[str, tuple[str, int]] = field(default_factory=dict)
    _by_token: dict[str, _Session] = field(default_factory=dict)

    @classmethod
    def of(cls, apps: Iterable[App], clock: Clock) -> Sessions:
        """The sessions of these apps; nobody is logged in yet."""
        return cls({app.api_key: app for app in apps}, clock)

    def app(self, api_key: str) -> App:
        """The app with this key.

        Raises:
            KiteError: there is none.
        """
        found = self.apps.get(api_key)
        if found is None:
            raise bad_input("Invalid `api_key`.")
        return found

    def login(self, api_key: str) -> str:
        """A person has logged in: returns the request token, which can be used once, within five minutes."""
        self.app(api_key)
        token = secrets.token_urlsafe(24)
        self._request_tokens[token] = (api_key, self.clock.ns() + _REQUEST_TOKEN_SECONDS * SECOND_NS)
        return token

    def begin(self, api_key: str, request_token: str, checksum: str) -> tuple[App, str]:
        """Exchanges a request token for an access token.

        Raises:
            KiteError: the token isn't known, was used, is too old, or the checksum is wrong.
        """
        app = self.app(api_key)
        known = self._request_tokens.pop(request_token, None)
        if known is None or known[0] != api_key or known[1] <= self.clock.ns():
            raise dead_session("Token is invalid or has expired.")
        wanted = hashlib.sha256(f"{api_key}{request_token}{app.api_secret}".encode()).hexdigest()
        if not secrets.compare_digest(wanted, checksum):
            raise dead_session("Invalid `checksum`.")
        self.end(api_key)
        token = secrets.token_urlsafe(24)
        self._by_token[token] = _Session(api_key, self.clock.session_end_ns())
        self.logins += 1
        return app, token

    def end(self, api_key: str) -> bool:
        """Ends an app's session, as its logout, a login elsewhere or the exchange's rule does."""
        ended = [token for token, session in self._by_token.items() if session.api_key == api_key]
        for token in ended:
            del self._by_token[token]
        return bool(ended)

    def of_token(self, api_key: str, access_token: str) -> App:
        """The app that is logged in with this token.

        Raises:
            KiteError: 403 TokenException: none is, or its session has ended.
        """
        session = self._by_token.get(access_token)
        if session is None or session.api_key != api_key or session.until_ns <= self.clock.ns():
            raise dead_session()
        return self.apps[api_key]

    def of_header(self, headers: Mapping[str, str]) -> App:
        """The app of a request's `Authorization: token api_key:access_token`.

        Raises:
            KiteError: 403 TokenException.
        """
        kind, _, pair = headers.get("Authorization", "").partition(" ")
        api_key, _, access_token = pair.partition(":")
        if kind != "token":
            raise dead_session()
        return self.of_token(api_key, access_token)


def require_allowed_ip(app: App, address: str) -> None:
    """Order requests come from listed addresses alone.

    Raises:
        KiteError: 403 PermissionException, in the words of the real one.
    """
    if app.allowed_ips is None or address in app.allowed_ips:
        return
    if not app.allowed_ips:
        message = "No IPs configured for this app. Add allowed IPs on the Kite developer console."
    else:
        message = (
            f"IP ({address}) is not allowed to place orders for this app."
            " Update allowed IPs on the Kite developer console. Learn more - static-ip"
        )
    raise KiteError(403, "PermissionException", message)
