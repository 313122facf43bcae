"""Makes calls by kiteconnect in threads, each with a client of its own, and says what a failed one came to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Lock
from typing import Any, Final, TypeVar

import requests
from kiteconnect import KiteConnect
from kiteconnect.exceptions import KiteException
from urllib3.exceptions import HTTPError

from alphapanda.kite.failures import failure_of
from alphapanda.kite.http import BoundedSession
from alphapanda.kite.options import KiteOptions
from alphapanda.kite.outcomes import RawFailure, Stage

LEEWAY_SECONDS: Final = 2.0
"""Beyond the deadline of a whole answer, for the threads; then a call counts as one without an answer."""
T = TypeVar("T")
Ask = Callable[[Any], T]
"""Calls one method of kiteconnect's client."""

# What kiteconnect raises: its own errors; those of requests and urllib3; and, of answers without a content type, without an error_type or
# of another shape than it expects, KeyError, TypeError, ValueError and AttributeError (KITE_FACTS section 2.2).
_FAILURES: Final = (
    KiteException,
    requests.RequestException,
    HTTPError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)


class CallFailed(Exception):
    """A call has failed; `failure` says how far it came and what Kite said, without key or token."""

    def __init__(self, failure: RawFailure) -> None:
        self.failure = failure
        super().__init__(failure.message)


class KiteThreads:
    """Threads that call Kite; each uses a client that no other uses meanwhile.

    Args:
        options: addresses and time-outs.
        threads: most calls at once.
        seconds: longest time for a whole answer.
        name: of the threads.
    """

    def __init__(self, options: KiteOptions, threads: int, seconds: float, name: str) -> None:
        self._options = options
        self._seconds = seconds
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"kite-{name}")
        self._free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(threads):
            self._free.put(self._client())

    async def call(
        self,
        ask: Ask[T],
        api_key: str,
        access_token: str | None,
        ended: Callable[[], None] = lambda: None,
    ) -> T:
        """Makes a call. Cancelling the caller doesn't end it: what was sent stays sent.

        Args:
            ask: calls one method of the client.
            api_key: the app's key.
            access_token: the session's token; None where the call needs none.
            ended: called on the event loop once nothing of the call is under way any more, also after its caller has left.

        Raises:
            CallFailed: it has failed.
        """
        loop = asyncio.get_running_loop()
        begun = _Begun()
        work: Future[T] = self._executor.submit(self._in_thread, ask, api_key, access_token, begun)
        work.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(ended))
        seconds = self._options.connect_timeout_seconds + self._seconds + LEEWAY_SECONDS
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(work)
        except TimeoutError:
            if begun.give_up():
                raise CallFailed(
                    RawFailure(Stage.NOT_SENT, message="all connections to Kite wait for answers")
                ) from None
            raise CallFailed(RawFailure(Stage.SENT, message=f"no answer within {seconds:g} s")) from None
        except asyncio.CancelledError:
            begun.give_up()
            raise

    def stop(self) -> None:
        """Ends the threads once their calls have ended; nobody waits for them."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        while not self._free.empty():
            self._free.get_nowait().reqsession.close()

    def _in_thread(self, ask: Ask[T], api_key: str, access_token: str | None, begun: _Begun) -> T:
        if not begun.begin():
            raise CallFailed(RawFailure(Stage.NOT_SENT, message="given up before it was sent"))
        client = self._free.get()
        client.api_key, client.access_token = api_key, access_token
        try:
            return ask(client)
        except _FAILURES as error:
            failure = failure_of(error, client.reqsession.answer)
        finally:
            client.api_key, client.access_token = "", None
            client.reqsession.answer = None
            self._free.put(client)
        raise CallFailed(failure)  # outside the handler: the text of what was caught may hold a token

    def _client(self) -> Any:
        options = self._options
        timeout = (options.connect_timeout_seconds, options.read_timeout_seconds)
        client = KiteConnect("", root=options.api_root, timeout=timeout)
        client.reqsession.close()
        client.reqsession = BoundedSession(options, self._seconds)
        return client


class _Begun:
    """Whether a call was begun in its thread or given up before: one of the two, whoever comes first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._begun = self._given_up = False

    def begin(self) -> bool:
        """Begins the call; False where it was given up."""
        with self._lock:
            self._begun = not self._given_up
            return self._begun

    def give_up(self) -> bool:
        """Gives the call up; False where it was begun: then it is under way, or over."""
        with self._lock:
            self._given_up = not self._begun
            return self._given_up
