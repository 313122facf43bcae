"""Page tokens: opaque to callers, the sort key of the last row to us, bound to the request's filters."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from zlib import crc32

from alphapanda.domain.errors import InvalidInput


def encode_page_token(after: Sequence[str | int], filters: str) -> str:
    """The token of the page after the row with sort key `after`."""
    return urlsafe_b64encode(json.dumps([crc32(filters.encode()), *after]).encode()).decode().rstrip("=")


def decode_page_token(token: str, filters: str) -> list[str | int] | None:
    """The sort key after which the page begins; None for the first page (empty token).

    Raises:
        InvalidInput: not a token of ours, or one of a request with other filters.
    """
    if not token:
        return None
    allowed = "next_page_token of an answer to a request with the same filters, or nothing"
    try:
        checksum, *after = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError):
        raise InvalidInput("page_token", token, allowed) from None
    if checksum != crc32(filters.encode()) or not all(isinstance(part, str | int) for part in after):
        raise InvalidInput("page_token", token, allowed)
    return list(after)
