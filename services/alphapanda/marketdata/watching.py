"""Watches on quotes: a snapshot, then the latest quotes that moved, as fast as each client reads."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final

import structlog

from alphapanda.consuming.follower import TopicFollower
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.marketdata.quotes import QUOTES_IN_MESSAGE, QuoteBoard
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.tasks import kept_running
from alphapanda.storage.price_cache import PriceCache
from panda.events.v1.events_pb2 import Event
from panda.marketdata.v1 import marketdata_pb2 as api

_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 2.0
_ASKED_SECONDS: Final = 300.0
MOST_ASKED: Final = 1_000
"""Instruments that were asked for without a watch, and are remembered."""

Follow = Callable[[Callable[[Event], Awaitable[None]]], TopicFollower]
"""Makes a follower that calls a handler with each frame from now on."""

_log = structlog.get_logger(__name__)


class QuoteWatches:
    """Opens watches. While there is one, one reader follows the frames for all of them.

    Args:
        cache: last prices, for the snapshots.
        directory: the known instruments.
        follow: makes a follower of the frames.

        elapsed: seconds of a clock that doesn't go back.

    Attributes:
        watchers: number of open watches.
    """

    def __init__(
        self,
        cache: PriceCache,
        directory: InstrumentDirectory,
        follow: Follow,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.watchers = 0
        self._elapsed = elapsed
        self._tokens: Counter[int] = Counter()
        self._asked: dict[int, float] = {}
        self._cache = cache
        self._directory = directory
        self._follow = follow
        self._board = QuoteBoard(directory)
        self._draining = False
        self._watched = asyncio.Event()
        self._unwatched = asyncio.Event()
        self._following = asyncio.Event()
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def tokens(self) -> Iterable[int]:
        """Tokens of the instruments that are watched, or were asked for in the last minutes."""
        now = self._elapsed()
        while self._asked and next(iter(self._asked.values())) < now - _ASKED_SECONDS:
            del self._asked[next(iter(self._asked))]
        return [*self._tokens, *reversed(self._asked)]

    def ask(self, tokens: Iterable[int]) -> None:
        """Somebody has asked for these prices: they are wanted for some minutes."""
        now = self._elapsed()
        for token in tokens:
            self._asked.pop(token, None)
            self._asked[token] = now
        while len(self._asked) > MOST_ASKED:
            del self._asked[next(iter(self._asked))]

    async def start(self) -> None:
        """Starts the background task, which follows the frames while there is a watch."""
        self._draining = False
        self._task = kept_running(
            self._follow_while_watched,
            "watching quotes",
            _log,
            Backoff(_RETRY_SECONDS, _LONGEST_RETRY_SECONDS),
        )

    async def stop(self) -> None:
        """Stops following; each watch sends its last message (`draining`) and ends."""
        self._draining = True
        self._following.set()
        self._wake()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def watch(self, instruments: Sequence[Instrument], min_interval: float) -> AsyncIterator[bytes]:
        """The messages of one watch, each an encoded WatchQuotesResponse.

        Args:
            instruments: the instruments to watch; empty: all.
            min_interval: minimum seconds between two rounds of messages.
        """
        wanted = {one.instrument_token for one in instruments} or None
        self.watchers += 1
        self._tokens.update(wanted or ())
        self._watched.set()
        try:
            await self._following.wait()
            if not self._draining:
                await self._fill_board(instruments or list(self._directory))
                board = self._board
                seen = board.version
                for message in self._snapshot(instruments, wanted):
                    yield message
                # Not in a nested generator: it would add a step for every message of every watch.
                while not self._draining:
                    if board.version == seen:
                        await self._moved.wait()
                        continue
                    after, seen, sent = seen, board.version, False
                    for message in board.updates(after, wanted):
                        yield message
                        sent = True
                    if sent and min_interval:
                        await self._pause(min_interval)
            yield api.WatchQuotesResponse(draining=True).SerializeToString()
        finally:
            self.watchers -= 1
            self._tokens -= Counter(wanted or ())
            if not self.watchers:
                self._watched.clear()
                self._unwatched.set()

    def _snapshot(self, instruments: Sequence[Instrument], wanted: set[int] | None) -> Iterator[bytes]:
        board = self._board
        priced = board.priced(wanted)
        without = [one.symbol for one in instruments if not board.holds(one.instrument_token)]
        yield board.message(priced[:QUOTES_IN_MESSAGE], snapshot=True, without_price=without)
        for begin in range(QUOTES_IN_MESSAGE, len(priced), QUOTES_IN_MESSAGE):
            yield board.message(priced[begin : begin + QUOTES_IN_MESSAGE], snapshot=True)

    async def _pause(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(until):
                while not self._draining:
                    await self._moved.wait()
        except TimeoutError:
            return

    async def _fill_board(self, instruments: Sequence[Instrument]) -> None:
        """Adds prices of instruments that were in no frame yet; the cache has those of all earlier frames."""
        tokens = [one.instrument_token for one in instruments if not self._board.holds(one.instrument_token)]
        reading = await self._cache.read(tokens)
        clock = reading.clock
        self._board.add_cached(reading.prices.items(), clock.market_time_ns if clock else 0)

    async def _on_event(self, event: Event) -> None:
        if self._board.apply(event.tick_frame):
            self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def _follow_while_watched(self) -> None:
        while True:
            await self._watched.wait()
            follower = self._follow(self._on_event)
            try:
                await follower.start()
                self._following.set()
                while self.watchers:
                    self._unwatched.clear()
                    await self._unwatched.wait()
                self._following.clear()
            finally:
                await follower.stop()
            self._board.clear()
