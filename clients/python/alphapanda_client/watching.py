"""How a watch goes on after a break: the same for both clients, without their reading."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import Message

from alphapanda_client.errors import PlatformError

FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0
Watched = TypeVar("Watched", bound=Message)
MENDED_BY_TIME = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


class Progress(Generic[Watched]):
    """A watch's request and how long to wait before it is opened again.

    A request with `after_revision` goes on behind the last revision seen; where the server doesn't have it any more, and
    for quotes, which have no revision, it begins again with a snapshot.

    Args:
        request: the first request; it isn't changed.
        seconds: how long the watch may last; no limit where absent.
        now: a clock in seconds.
    """

    def __init__(
        self, request: Watched, seconds: float | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._request = type(request)()
        self._request.CopyFrom(request)
        self._now = now
        self._end = None if seconds is None else now() + seconds
        self._has_revision = "after_revision" in request.DESCRIPTOR.fields_by_name
        self._wait = FIRST_WAIT

    @property
    def left(self) -> float | None:
        """Seconds that the watch may still last; None without a limit."""
        return None if self._end is None else max(0.0, self._end - self._now())

    @property
    def request(self) -> Watched:
        """What to ask for now; it doesn't change afterwards."""
        copy = type(self._request)()
        copy.CopyFrom(self._request)
        return copy

    def saw(self, message: Message) -> None:
        """A message came."""
        self._wait = FIRST_WAIT
        if self._has_revision:
            self._go_on_after(getattr(message, "revision"))  # noqa: B009  # which message it is, only the field says

    def broke(self, error: PlatformError | None) -> float:
        """Seconds to wait after a break; None is the end of a stream whose server stops.

        Raises:
            PlatformError: a further attempt doesn't mend it, or no time is left.
        """
        wait = self._wait
        if self.left == 0:
            raise error or PlatformError(grpc.StatusCode.DEADLINE_EXCEEDED, "the watch's time is over")
        if error is not None:
            if error.code is grpc.StatusCode.OUT_OF_RANGE and self._has_revision:
                self._go_on_after(0)
            elif error.code in MENDED_BY_TIME:
                wait = max(wait, error.retry_after)
            else:
                raise error
        self._wait = min(2 * self._wait, LONGEST_WAIT)
        return wait if self.left is None else min(wait, self.left)

    def _go_on_after(self, revision: int) -> None:
        setattr(self._request, "after_revision", revision)  # noqa: B010
