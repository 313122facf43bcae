"""What a completed login at a broker gives, and why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """What calls to a broker need.

    Attributes:
        api_key: key of the app.
        access_token: opens calls.
        broker_user_id: the broker's id of who has signed in.
    """

    api_key: str = field(repr=False)
    access_token: str = field(repr=False)
    broker_user_id: str


class LoginRefused(Exception):
    """The broker has refused a login; the message has the broker's words."""


class BrokerAway(Exception):
    """The broker can't be reached, or its answer can't be read; the message says which."""
