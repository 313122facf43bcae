"""The errors of the API, as its envelope tells them."""

from __future__ import annotations

from typing import Final

TOO_MANY: Final = "Too many requests"
SESSION_DEAD: Final = "Incorrect `api_key` or `access_token`."
TIMED_OUT: Final = "Order request timed out. Please check the order book and confirm before placing again."


class KiteError(Exception):
    """A refusal or failure of the API.

    Attributes:
        status: the HTTP status.
        error_type: such as "InputException"; the client's exception class.
        message: the text for people.
    """

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(f"{status} {error_type}: {message}")
        self.status = status
        self.error_type = error_type
        self.message = message


def bad_input(message: str) -> KiteError:
    """A parameter that can't be used."""
    return KiteError(400, "InputException", message)


def dead_session(message: str = SESSION_DEAD) -> KiteError:
    """No session, or one that has ended."""
    return KiteError(403, "TokenException", message)


def too_many(message: str = TOO_MANY) -> KiteError:
    """A limit of requests is used up."""
    return KiteError(429, "NetworkException", message)


def require_text(value: object, name: str) -> str:
    """A parameter that may not be missing.

    Raises:
        KiteError: it is.
    """
    if value in {None, ""}:
        raise bad_input(f"Missing or empty field `{name}`")
    return str(value)
