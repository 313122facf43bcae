"""Removes secrets from texts: by the name of the key, by the pattern of the text, and those that are known by their value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, ClassVar

REDACTED = "[redacted]"

_SECRET_KEY = re.compile(
    r"secret|passw(or)?d|passphrase|authorization|credential|cookie|api_?key|token|otp$", re.IGNORECASE
)
_HARMLESS = frozenset({"instrument_token", "instrument_tokens", "page_token", "next_page_token"})
_REASON_AND_METHOD = re.compile(r"[A-Z_]+ /[\w./]+")
_URL_PASSWORD = re.compile(r"((?:\w|(?<=\w)[+.-])://[^\s:/@?#]*:)\S+@")  # greedy: a password may hold an @
_NAMED = re.compile(
    r"(?i)\b((?:[a-z_]*(?:secret|password)|(?:access|refresh|request|auth)_token|api_?key)['\"]?\s*[=:]\s*['\"]?)[^\s&'\",;)}]+"
)
_AUTHORIZATION = re.compile(
    r"(?i)\b(authorization['\"]?\s*[=:]\s*['\"]?(?:bearer |token |basic )?|bearer )[^\s'\",;)}]+"
)


LEAST_KNOWN = 8
"""Characters of a secret that is removed wherever it stands; a shorter one, or a mere word, would take other words with it."""


SECRETS_OF_OWNER = 2


class _Known:
    """The secrets of this process's settings, as a pattern; None while there are none."""

    pattern: re.Pattern[str] | None = None
    values: frozenset[str] = frozenset()
    of_owners: ClassVar[dict[str, tuple[str, ...]]] = {}


def remember_session_secret(owner: str, value: str) -> None:
    """Has a secret removed that is replaced now and then, such as a token; the owner's last two are known."""
    _Known.of_owners[owner] = (value, *_Known.of_owners.get(owner, ()))[:SECRETS_OF_OWNER]
    _renew_pattern()


def remember_secrets(values: Iterable[str]) -> None:
    """Has secrets removed wherever they stand from now on, also where neither a key nor a pattern tells them."""
    worth = {value for value in values if len(value) >= LEAST_KNOWN and not value.isalpha()}
    if worth <= _Known.values:
        return
    _Known.values |= worth
    _renew_pattern()


def _renew_pattern() -> None:
    known = {*_Known.values, *(value for values in _Known.of_owners.values() for value in values)}
    longest_first = sorted((value for value in known if len(value) >= LEAST_KNOWN), key=len, reverse=True)
    if longest_first:
        _Known.pattern = re.compile("|".join(map(re.escape, longest_first)))


@lru_cache(maxsize=1000)
def is_secret(key: str) -> bool:
    """Whether a key's name means a secret; instrument tokens, page tokens and reasons beside a method are none."""
    return (
        key.lower() not in _HARMLESS
        and _SECRET_KEY.search(key) is not None
        and _REASON_AND_METHOD.fullmatch(key) is None
    )


def without_credentials(text: str) -> str:
    """Returns a text for who made a call without known secrets, passwords in URLs and bearer tokens.

    What follows a secret's name stays: "password: too short" is about the name.
    """
    if _Known.pattern is not None:
        text = _Known.pattern.sub(REDACTED, text)
    if ":" not in text and " " not in text:
        return text
    return _AUTHORIZATION.sub(rf"\1{REDACTED}", _URL_PASSWORD.sub(rf"\1{REDACTED}@", text))


def redacted(value: Any) -> Any:
    """Returns the value without secrets: passwords in URLs, `password=…`, bearer tokens, secret keys of mappings."""
    if isinstance(value, str):
        if _Known.pattern is not None:
            value = _Known.pattern.sub(REDACTED, value)
        if ":" not in value and "=" not in value and " " not in value:
            return value  # no pattern matches without one of them: most values are ids and names
        return _AUTHORIZATION.sub(
            rf"\1{REDACTED}", _NAMED.sub(rf"\1{REDACTED}", _URL_PASSWORD.sub(rf"\1{REDACTED}@", value))
        )
    if isinstance(value, Mapping):
        return {
            key: REDACTED if isinstance(key, str) and is_secret(key) else redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(item) for item in value]
    return value if isinstance(value, int | float | bool | None) else redacted(str(value))
