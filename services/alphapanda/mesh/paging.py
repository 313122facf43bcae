"""Page tokens: the sort key of a page's last row, bound to the request's filters; opaque to callers."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from alphapanda.domain.errors import InvalidInput


def encode_page_token(after: Sequence[str | int], filters: str) -> str:
    """Returns the token of the page after the row with sort key `after`."""
    return urlsafe_b64encode(json.dumps([crc32(filters.encode()), *after]).encode()).decode().rstrip("=")


def decode_page_token(token: str, filters: str, *kinds: type[str | int]) -> list[Any] | None:
    """Decodes the sort key after which a page begins, with parts of these types; None for the first page (empty token).

    Raises:
        InvalidInput: the token is malformed, or belongs to a request with other filters.
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
    """Whether the database can compare it: no text with NUL or lone surrogates, no number beyond a BIGINT."""
    if isinstance(part, int):
        return -(2**63) <= part < 2**63
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in part)
