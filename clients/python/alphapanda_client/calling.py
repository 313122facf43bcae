"""How RPCs are called, for type checkers, and what a stream of answers is."""

from __future__ import annotations

from typing import Any, Generic, Protocol, Self, TypeAlias, TypeVar

import grpc

from alphapanda_client.errors import platform_error

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
Request_contra = TypeVar("Request_contra", contravariant=True)
Answer_co = TypeVar("Answer_co", covariant=True)


class Call(Protocol[Request_contra, Answer_co]):
    """An RPC with one answer."""

    def __call__(
        self, request: Request_contra, timeout: float | None = None, metadata: Metadata = ()
    ) -> Answer_co:
        """Calls it.

        Args:
            request: without a request_id it is sent with a new one; it isn't changed.
            timeout: seconds; the contract's where absent.
            metadata: more of it.

        Raises:
            PlatformError: it was refused or failed.
        """


class StreamCall(Protocol[Request_contra, Answer_co]):
    """An RPC with a stream of answers."""

    def __call__(
        self, request: Request_contra, timeout: float | None = None, metadata: Metadata = ()
    ) -> Stream[Answer_co]:
        """Opens the stream.

        Args:
            request: what to ask for.
            timeout: seconds that the stream may last; no limit where absent.
            metadata: more of it.
        """


class Stream(Generic[Answer_co]):
    """Answers as they come; leave it with `cancel`.

    Raises:
        PlatformError: while it is read, that it was refused or has failed.
    """

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Answer_co:
        try:
            answer: Answer_co = next(self._call)
        except grpc.RpcError as error:
            raise platform_error(error) from None
        return answer

    def cancel(self) -> None:
        """Ends the stream."""
        self._call.cancel()
