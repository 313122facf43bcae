"""How a watch goes on after a break: the same for both clients, without their reading."""

from __future__ import annotations

from typing import Any

import grpc

from alphapanda_client.errors import PlatformError

FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0
MENDED_BY_TIME = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


class Progress:
    """A watch's request and how long to wait before it is opened again.

    A request with `after_revision` goes on behind the last revision seen; where the server doesn't have it any more, and
    for quotes, which have no revision, it begins again with a snapshot.

    Args:
        request: the first request; it isn't changed.
    """

    def __init__(self, request: Any) -> None:
        self._request = type(request)()
        self._request.CopyFrom(request)
        self._has_revision = "after_revision" in request.DESCRIPTOR.fields_by_name
        self._wait = FIRST_WAIT

    @property
    def request(self) -> Any:
        """What to ask for now; it doesn't change afterwards."""
        copy = type(self._request)()
        copy.CopyFrom(self._request)
        return copy

    def saw(self, message: Any) -> None:
        """A message came."""
        self._wait = FIRST_WAIT
        if self._has_revision:
            self._request.after_revision = message.revision

    def broke(self, error: PlatformError | None) -> float:
        """Seconds to wait after a break; None is the end of a stream whose server stops.

        Raises:
            PlatformError: a further attempt doesn't mend it.
        """
        wait = self._wait
        if error is not None:
            if error.code is grpc.StatusCode.OUT_OF_RANGE and self._has_revision:
                self._request.after_revision = 0
            elif error.code in MENDED_BY_TIME:
                wait = max(wait, error.retry_after)
            else:
                raise error
        self._wait = min(2 * self._wait, LONGEST_WAIT)
        return wait
