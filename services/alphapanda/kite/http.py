"""HTTP sessions for kiteconnect that leave nothing open: whole answers by a deadline, IPv4 alone, no redirects, no other credentials."""

from __future__ import annotations

import time
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from typing_extensions import override

from alphapanda.kite.options import KiteOptions

MOST_BYTES: Final = 128 * 1024 * 1024
"""Of an answer, unpacked; the dump of all instruments has about 10 MB."""
CHUNK: Final = 64 * 1024
IDLE_SECONDS: Final = 20.0
"""A connection that was idle for longer isn't used again: Kite may have closed it, and an order on it would be UNKNOWN."""
ANY_IPV4: Final = ("0.0.0.0", 0)


class AnswerTooLong(requests.exceptions.ContentDecodingError):
    """An answer has more bytes than any of Kite's may have."""


class BoundedSession(requests.Session):
    """A session whose answers are read whole by a deadline, or count as lost.

    Kite's client hands its time-out to each read of the socket, so that a slow body would hold a call for ever.

    Args:
        options: time-outs, and whether only IPv4 is used.
        seconds: longest time for a whole answer.

    Attributes:
        answer: the newest whole answer; None where the newest call has got none.
    """

    def __init__(self, options: KiteOptions, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._used_at = time.monotonic()
        self.answer: requests.Response | None = None
        self.max_redirects = 0  # a redirected order would be sent again as something else
        self.trust_env = (
            False  # neither ~/.netrc, which replaces the token, nor a proxy, which changes our address
        )
        adapter = _Adapter(ANY_IPV4 if options.ipv4_only else None)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    @override
    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        self.answer = None
        if time.monotonic() - self._used_at > IDLE_SECONDS:
            for adapter in self.adapters.values():
                adapter.close()
        until = time.monotonic() + self._seconds
        with super().request(*arguments, **{**options, "stream": True}) as response:
            parts, size = [], 0
            while part := response.raw.read1(
                CHUNK, decode_content=True
            ):  # what has come, without waiting for a chunk
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise AnswerTooLong(f"an answer has more than {MOST_BYTES} bytes")
                if time.monotonic() > until:
                    raise requests.exceptions.ReadTimeout(
                        f"the answer wasn't whole after {self._seconds:g} s"
                    )
            # As requests does it with a body that it has read.
            response._content = b"".join(parts)  # noqa: SLF001
            response._content_consumed = True  # noqa: SLF001
        self._used_at = time.monotonic()
        self.answer = response
        return response


class _Adapter(HTTPAdapter):
    """Connects from an address of ours, where one is given; urllib3 passes over addresses of the other kind."""

    def __init__(self, source: tuple[str, int] | None) -> None:
        self._source = source
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    @override
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        if self._source is not None:
            options["source_address"] = self._source
        super().init_poolmanager(*arguments, **options)
