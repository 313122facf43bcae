"""A channel that outlives its certificate: a new one takes its place when the certificate's files have changed.

A gRPC channel keeps the certificate that it was made with. The old channel is closed when its calls have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Self

import grpc
from typing_extensions import override

OLD_CALLS_SECONDS: Final = 60.0
"""How long calls of the old channel may go on."""


class RenewedChannel(grpc.aio.Channel):
    """A channel whose calls go over the newest channel.

    Args:
        version: returns the version of the certificate; a channel is made for each.
        make: makes a channel.
    """

    def __init__(self, version: Callable[[], int], make: Callable[[], grpc.aio.Channel]) -> None:
        self._version = version
        self._make = make
        self._made_for = version()
        self._channel = make()
        self._closing: set[asyncio.Task[None]] = set()

    def newest(self) -> grpc.aio.Channel:
        """Returns the channel for the next call."""
        if (version := self._version()) != self._made_for:
            closing = asyncio.get_running_loop().create_task(self._channel.close(OLD_CALLS_SECONDS))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            self._made_for, self._channel = version, self._make()
        return self._channel

    @override
    async def __aenter__(self) -> Self:
        return self

    @override
    async def __aexit__(self, *_: object) -> None:
        await self.close(None)

    @override
    async def close(self, grace: float | None = None) -> None:
        for closing in self._closing:
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._channel.close(grace)

    @override
    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    @override
    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    @override
    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    @override
    def unary_unary(self, *arguments: Any, **named: Any) -> Any:
        return _Method(self, lambda channel: channel.unary_unary(*arguments, **named))

    @override
    def unary_stream(self, *arguments: Any, **named: Any) -> Any:
        return _Method(self, lambda channel: channel.unary_stream(*arguments, **named))

    @override
    def stream_unary(self, *arguments: Any, **named: Any) -> Any:
        return _Method(self, lambda channel: channel.stream_unary(*arguments, **named))

    @override
    def stream_stream(self, *arguments: Any, **named: Any) -> Any:
        return _Method(self, lambda channel: channel.stream_stream(*arguments, **named))


class _Method:
    """A stub's method on the newest channel."""

    def __init__(self, channel: RenewedChannel, on: Callable[[grpc.aio.Channel], Any]) -> None:
        self._channel = channel
        self._on = on
        self._made_on: grpc.aio.Channel | None = None
        self._method: Any = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        newest = self._channel.newest()
        if newest is not self._made_on:
            self._made_on, self._method = newest, self._on(newest)
        return self._method(*arguments, **named)
