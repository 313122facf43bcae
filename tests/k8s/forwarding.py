"""Hands connections to an address of this machine on to a port or a Unix socket: a pod reaches a store that is a process here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

Place = int | Path
"""A port of 127.0.0.1, or a Unix socket."""

_FREEBIND = 15
"""IP_FREEBIND: the address may come later, as a network's gateway does with its first pod."""


class Forwarding:
    """Listens on ports of one address, in a thread of its own.

    Args:
        address: where to listen; it needn't be there yet.
        places: where connections to each port lead.
    """

    def __init__(self, address: str, places: Mapping[int, Place]) -> None:
        self._address = address
        self._places = places
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        for port, place in self._places.items():
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_IP, _FREEBIND, 1)
            listener.bind((self._address, port))

            async def handed_on(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: Place = place
            ) -> None:
                with contextlib.suppress(asyncio.CancelledError):  # all of them end with this
                    await _hand_on(reader, writer, to)

            self._servers.append(await asyncio.start_server(handed_on, sock=listener, limit=2**20))

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        others = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: Place) -> None:
    with contextlib.suppress(OSError):
        if isinstance(place, Path):
            inner, outer = await asyncio.open_unix_connection(str(place), limit=2**20)
        else:
            inner, outer = await asyncio.open_connection("127.0.0.1", place, limit=2**20)
        try:
            await asyncio.gather(_pump(reader, outer), _pump(inner, writer))
        finally:
            outer.close()
    writer.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(2**16):
            target.write(data)
            await target.drain()
    target.close()
