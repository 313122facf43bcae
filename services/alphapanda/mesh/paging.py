"""Page tokens: the sort key of a page's last row, bound to the request's filters; opaque to callers."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from alphapanda.domain.errors import InvalidInput


def encode_page_token(after: Sequence[str | int], filters: str) -> str:
    """The token of the page after the row with sort key `after`."""
    return urlsafe_b64encode(json.dumps([crc32(filters.encode()), *after]).encode()).decode().rstrip("=")


def decode_page_token(token: str, filters: str, *kinds: type[str | int]) -> list[Any] | None:
    """The sort key after which the page begins, its parts of these kinds; None for the first page (empty token).

    Raises:
        InvalidInput: not a token of ours, or one of a request with other filters.
    """
    if not token:
        return None
    try:
        checksum, *after = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError, RecursionError):
        raise _no_token(token) from None
    if checksum != crc32(filters.encode()) or [type(part) for part in after] != [*kinds]:
        raise _no_token(token)
    if not all(map(_sortable, after)):
        raise _no_token(token)
    return list(after)


def _no_token(token: str) -> InvalidInput:
    allowed = "next_page_token of an answer to a request with the same filters, or nothing"
    return InvalidInput("page_token", token, allowed)


def _sortable(part: str | int) -> bool:
    """Whether a database could have a row of it: no text with NUL or half a character, no number beyond a BIGINT."""
    if isinstance(part, int):
        return -(2**63) <= part < 2**63
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in part)
