"""A call has its time budget, whatever it does about its end."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from alphapanda.resilience.budgets import within


async def test_a_call_in_time_gives_its_result_or_its_error() -> None:
    """The budget changes nothing for a call that is over in time."""

    async def fails() -> int:
        raise KeyError("a bug")

    assert await within(60, asyncio.sleep(0, 7)) == 7
    with pytest.raises(KeyError):
        await within(60, fails())


async def test_a_call_that_swallows_its_cancellation_is_not_waited_for() -> None:
    """Some client libraries go on when they are cancelled: the caller has its answer all the same."""
    over, ended = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        while not over.is_set():
            with suppress(asyncio.CancelledError):
                await over.wait()
        ended.set()
        raise KeyError("nobody waits for it")

    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
            await within(0.01, stubborn())
        over.set()
        await ended.wait()


async def test_an_answer_that_came_while_the_loop_stood_still_counts() -> None:
    """A busy process blames no other: the answer was there, only nobody had looked."""
    reader, writer = await asyncio.open_connection(*await _echo())

    async def ask() -> bytes:
        writer.write(b"x")
        await writer.drain()
        return await reader.readexactly(1)

    async def stand_still() -> None:
        time.sleep(0.3)  # noqa: ASYNC251 - the loop is to stand still

    answer, _ = await asyncio.gather(within(0.2, ask()), stand_still())
    assert answer == b"x"
    writer.close()


async def test_who_is_cancelled_cancels_the_call() -> None:
    """Nothing is left behind by a caller that is cancelled."""
    cancelled, begun = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    waiting = asyncio.create_task(within(60, call()))
    await begun.wait()
    waiting.cancel()
    async with asyncio.timeout(10):
        await cancelled.wait()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def _echo() -> tuple[str, int]:
    """A server in a thread of its own, which answers while this loop stands still."""
    import socket
    import threading

    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection, server:
            connection.sendall(connection.recv(1))

    threading.Thread(target=serve, daemon=True).start()
    host, port = server.getsockname()[:2]
    return host, port
