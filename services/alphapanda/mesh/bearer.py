"""Sends the caller's access token with each call, from a file that is read again when it changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any, Final

import grpc
from typing_extensions import override

from alphapanda.domain.errors import InvalidInput

LOOK_SECONDS: Final = 1.0
LONGEST: Final = 8 * 1024
AUTHORIZATION_KEY: Final = "authorization"


class TokenFile:
    """The token in a file. Where a new one can't be read, the old one is sent.

    Args:
        file: holds nothing but the token.
        setting: names the file in a refusal.
        clock: seconds of a clock that never goes back.

    Raises:
        InvalidInput: there is no token in it.
    """

    def __init__(self, file: Path, setting: str, clock: Callable[[], float] = monotonic) -> None:
        self._file = file
        self._setting = setting
        self._clock = clock
        self._looked_at = clock()
        self._token, self._stamp = self._read(), self._stamped()

    def __call__(self) -> str:
        """Returns the newest token, at most LOOK_SECONDS old."""
        if self._clock() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = self._clock()
            try:
                if (stamp := self._stamped()) != self._stamp:
                    self._token, self._stamp = self._read(), stamp
            except (InvalidInput, OSError):
                return self._token
        return self._token

    def _stamped(self) -> tuple[int, int, int]:
        found = self._file.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> str:
        allowed = "a file with an access token, such as `alphapanda token` prints"
        try:
            text = self._file.read_bytes()[: LONGEST + 1].decode("ascii").strip()
        except OSError as error:
            raise InvalidInput(self._setting, self._file, f"{allowed} ({error.strerror})") from None
        except UnicodeDecodeError:
            raise InvalidInput(self._setting, self._file, allowed) from None
        if not text or len(text) > LONGEST or any(character.isspace() for character in text):
            raise InvalidInput(self._setting, self._file, allowed)
        return text


def token_senders(token: Callable[[], str]) -> list[grpc.aio.ClientInterceptor]:
    """Interceptors that send the token with each call of one request."""
    return [_Sender(token), _StreamSender(token)]


class _Sender(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    @override
    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(_with_token(client_call_details, self._token()), request)


class _StreamSender(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    @override
    async def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(_with_token(client_call_details, self._token()), request)


def _with_token(call: grpc.aio.ClientCallDetails, token: str) -> grpc.aio.ClientCallDetails:
    if not token:
        return call
    metadata = grpc.aio.Metadata(*(call.metadata or ()))
    metadata.add(AUTHORIZATION_KEY, f"Bearer {token}")
    return grpc.aio.ClientCallDetails(
        method=call.method,
        timeout=call.timeout,
        metadata=metadata,
        credentials=call.credentials,
        wait_for_ready=call.wait_for_ready,
    )
