"""Removes secrets from log lines, by the name of the key and by the pattern of the text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

REDACTED = "[redacted]"

_SECRET_KEY = re.compile(
    r"secret|passw(or)?d|passphrase|authorization|credential|cookie|api_?key|token|otp$", re.IGNORECASE
)
_HARMLESS = frozenset({"instrument_token", "instrument_tokens", "page_token", "next_page_token"})
_URL_PASSWORD = re.compile(r"((?:\w|(?<=\w)[+.-])://[^\s:/@?#]*:)\S+@")  # greedy: a password may hold an @
_NAMED = re.compile(
    r"(?i)\b((?:[a-z_]*(?:secret|password)|(?:access|refresh|request|auth)_token|api_?key)['\"]?\s*[=:]\s*['\"]?)[^\s&'\",;)}]+"
)
_AUTHORIZATION = re.compile(
    r"(?i)\b(authorization['\"]?\s*[=:]\s*['\"]?(?:bearer |token |basic )?|bearer )[^\s'\",;)}]+"
)


@lru_cache(maxsize=1000)
def is_secret(key: str) -> bool:
    """Whether a key's name means a secret; instrument tokens and page tokens are no secrets."""
    return key.lower() not in _HARMLESS and _SECRET_KEY.search(key) is not None


def redacted(value: Any) -> Any:
    """Returns the value without secrets: passwords in URLs, `password=…`, bearer tokens, secret keys of mappings."""
    if isinstance(value, str):
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
