"""A TCP proxy in front of a server's Unix socket, that can cut, slow and reset what goes through it."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from pathlib import Path

_AT_ONCE = 65_536


class TcpProxy:
    """Listens on a loopback port of its own. Everything is called in the loop that started it.

    Args:
        upstream: the server's Unix socket.

    Attributes:
        delay: seconds that each piece of data waits, either way.
    """

    def __init__(self, upstream: Path) -> None:
        self.delay = 0.0
        self._upstream = upstream
        self._cut = False
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        """Begins; its port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Ends."""
        self.reset()
        if self._server is not None:
            self._server.close()

    def cut(self) -> None:
        """Ends every connection, and each new one at once, until `mend`."""
        self._cut = True
        self.reset()

    def mend(self) -> None:
        """Lets everything through, without delay."""
        self._cut = False
        self.delay = 0.0

    def reset(self) -> None:
        """Ends every connection with a reset; new ones are let through."""
        for writer in list(self._connections):
            end: socket.socket = writer.get_extra_info("socket")
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            if self._cut:
                writer.transport.abort()
                return
            try:
                far_reader, far_writer = await asyncio.open_unix_connection(self._upstream)
            except OSError:  # the server is down: who connects is cut off
                return
            try:
                pumps = [
                    asyncio.create_task(self._pump(reader, far_writer)),
                    asyncio.create_task(self._pump(far_reader, writer)),
                ]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
                await asyncio.wait(pumps)
            finally:
                far_writer.transport.abort()
        finally:
            self._connections.discard(writer)
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(_AT_ONCE):
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(piece)
                await writer.drain()
