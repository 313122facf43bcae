"""Waits for what Zerodha's login page sends back: to a port of this machine, or pasted by a person."""

from __future__ import annotations

import asyncio
import html
import sys
import time
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from alphapanda.commands.console import err
from alphapanda.contract.wire import moment
from alphapanda.domain.errors import InvalidInput
from alphapanda.kite.callback import Redirect, read_redirect
from alphapanda.mesh.loopback import is_loopback
from panda.auth.v1.broker_session_pb2 import BeginBrokerLoginResponse

MOST_BYTES: Final = 16 * 1024
"""Of a request to the callback."""
READ_SECONDS: Final = 10.0
DONE: Final = "You are signed in at Zerodha; Alpha Panda goes on by itself. You may close this page."
PAGE: Final = (
    "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
    "Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'\r\nConnection: close\r\n\r\n"
    "<!doctype html><title>Alpha Panda</title><p>{text}</p>\n"
)


class AddressNeeded(Exception):
    """Nothing came back, and nobody can be asked; the message says what to do."""


async def completed_login(begun: BeginBrokerLoginResponse) -> Redirect:
    """What came back first: to the callback, or pasted.

    Raises:
        AddressNeeded: nothing came in time, or nothing can come.
    """
    seconds = moment(begun.expires_at).timestamp() - time.time()
    callback = urlsplit(begun.callback_url)
    ways = []
    found: asyncio.Future[Redirect] = asyncio.get_running_loop().create_future()
    server = None
    if is_loopback(callback.hostname or "") and callback.scheme == "http":
        try:
            server = await listen(
                callback.hostname or "", callback.port or 80, callback.path, begun.state, found
            )
            ways.append(f"waiting for it at {begun.callback_url}")
        except OSError as error:
            err.print(
                f"{begun.callback_url} can't be listened at ({error.strerror}): paste the address that you are sent to",
                markup=False,
            )
    pasting = None
    if sys.stdin.isatty():
        ways.append("or paste the address that you are sent to, and press Enter")
        pasting = asyncio.create_task(pasted(begun.state, found))
        pasting.add_done_callback(lambda task: _pass_on(task, found))
    if not ways:
        raise AddressNeeded(
            f"sign in, then run `alphapanda kite login 'ADDRESS'` with the address that you are sent to ({begun.callback_url}?…)"
        )
    err.print("; ".join(ways), markup=False, soft_wrap=True)
    try:
        async with asyncio.timeout(max(seconds, 0.0)):
            return await found
    except TimeoutError:
        raise AddressNeeded("nobody has signed in in time: run `alphapanda kite login` again") from None
    finally:
        if pasting is not None:
            pasting.cancel()
        if server is not None:
            server.close()


def _pass_on(task: asyncio.Task[None], found: asyncio.Future[Redirect]) -> None:
    """Ends the wait with the error of what reads the terminal."""
    if not task.cancelled() and (error := task.exception()) is not None and not found.done():
        found.set_exception(error)


async def listen(
    host: str, port: int, path: str, state: str, found: asyncio.Future[Redirect]
) -> asyncio.Server:
    """Listens at the callback; what comes back of another login than this one is told, and waited on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(READ_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, _, rest = head.partition(" ")
                status, text = _answered(method, rest.partition(" ")[0], path, state, found)
                writer.write(PAGE.format(status=status, text=html.escape(text)).encode())
                await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, host, port, limit=MOST_BYTES)


def _answered(
    method: str, target: str, path: str, state: str, found: asyncio.Future[Redirect]
) -> tuple[str, str]:
    if method != "GET" or urlsplit(target).path != (path or "/"):
        return "404 Not Found", "There is nothing here."
    try:
        redirect = read_redirect(target)
    except InvalidInput as error:
        return "400 Bad Request", f"{error}."
    if redirect.state != state:
        return "400 Bad Request", "This is of another login: use the address that the command shows."
    if not found.done():
        found.set_result(redirect)
    return "200 OK", DONE


async def pasted(state: str, found: asyncio.Future[Redirect]) -> None:
    """Reads lines from the terminal until one is the address of this login."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MOST_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode(errors="replace").strip():
        try:
            redirect = read_redirect(line)
        except InvalidInput as error:
            err.print(f"alphapanda: {error}", markup=False, soft_wrap=True)
            continue
        if redirect.state != state:
            err.print("alphapanda: this is the address of another login", markup=False)
        elif not found.done():
            found.set_result(redirect)
            return
