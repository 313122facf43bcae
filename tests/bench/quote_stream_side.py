"""The measured process of P5: WatchQuotes as it is served, and a bare stream of the same bytes, on a port each.

A second bare stream encodes each message anew, as cheaply as Python can. Prints the two ports. Frames of 100 instruments, every price new, come from the log's reader one by one, the next as soon
as every watch has taken the last, so that each frame is a message to each reader; no log and no Redis stand between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from typing import Any, cast

import grpc
import structlog
from typing_extensions import override

from alphapanda.consuming.follower import TopicFollower
from alphapanda.consuming.options import ConsumerOptions
from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.contract.wire import frame_event
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.port import EventLog, Start, StoredRecord
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.api import Context, MarketDataServicer
from alphapanda.marketdata.quotes import QUOTES_IN_MESSAGE
from alphapanda.marketdata.watching import QuoteWatches
from alphapanda.mesh.server import OPTIONS, MeshServer
from alphapanda.storage.price_cache import MarketReading, PriceCache
from panda.events.v1.events_pb2 import Event
from panda.marketdata.v1 import marketdata_pb2 as api
from panda.marketdata.v1.marketdata_pb2_grpc import add_MarketDataServiceServicer_to_server

TOPICS = TopicMap(["paper"])
FRAMES = 1_000
NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


class Backlog:
    """A log whose ticks never end: the next frame is there when all watches have taken the last."""

    def __init__(self, directory: InstrumentDirectory) -> None:
        tokens = [one.instrument_token for one in directory][:QUOTES_IN_MESSAGE]
        self.watches = 0
        self._taken = 0
        self._all_taken = asyncio.Event()
        self._records = cycle([_record(tokens, number) for number in range(FRAMES)])

    def topic_reader(self, topics: Sequence[str], start: Start) -> Backlog:
        return self

    async def end_offsets(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        return {}

    async def start(self) -> None:
        """Always open."""

    async def stop(self) -> None:
        """Always open."""

    async def fetch(self, max_records: int, timeout: float) -> Sequence[StoredRecord]:
        await self._all_taken.wait()
        self._all_taken.clear()
        self._taken = 0
        return [next(self._records)]

    def position(self, partition: TopicPartition) -> int:
        return 0

    def taken(self) -> None:
        """A watch has taken what was there."""
        self._taken += 1
        if self._taken >= self.watches:
            self._all_taken.set()

    def left(self, _: object) -> None:
        """A watch has ended."""
        self.watches -= 1
        self.taken()


class EmptyCache:
    """Prices come from frames alone."""

    async def read(self, tokens: Sequence[int]) -> MarketReading:
        return MarketReading(None, {})


class Taken:
    """A watch as it is; it tells the backlog when the message before was taken, and costs a message next to nothing."""

    def __init__(self, messages: AsyncIterator[bytes], backlog: Backlog) -> None:
        self._messages = messages
        self._backlog = backlog

    def __aiter__(self) -> Taken:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        self._backlog.taken()
        return self._messages.__anext__()


class Servicer(MarketDataServicer):
    """The service itself, with watches that tell the backlog what they took."""

    def __init__(self, backlog: Backlog, directory: InstrumentDirectory, watches: QuoteWatches) -> None:
        super().__init__(cast("Any", None), directory, load_nse_calendar(), cast("Any", None), watches)
        self._backlog = backlog

    @override
    def WatchQuotes(self, request: api.WatchQuotesRequest, context: Context) -> AsyncIterator[bytes]:  # type: ignore[override]
        context.add_done_callback(self._backlog.left)  # type: ignore[arg-type]
        self._backlog.watches += 1
        return Taken(super().WatchQuotes(request, context), self._backlog)


def _made_up_directory(size: int) -> InstrumentDirectory:
    model = shipped_instruments(NOW.date()).require_symbol("NSE:INFY", "instrument")
    return InstrumentDirectory(
        replace(
            model,
            instrument_id=f"NSE:STOCK{number:04}",
            tradingsymbol=f"STOCK{number:04}",
            instrument_token=1_000_000 + number,
        )
        for number in range(size)
    )


def _record(tokens: Sequence[int], number: int) -> StoredRecord:
    at = nanoseconds(NOW)  # of all frames: they come round again, and an older tick would move nothing
    prices = [100_000 + (number * 5 + token) % 20_000 for token in tokens]
    volumes = [1_000_000 + number * 100] * len(tokens)
    frame = Frame("bench", 0, number + 1, at, 100, tokens, prices, [at] * len(tokens), (), volumes)
    made = to_record(frame_event(frame, "marketdata", NOW), TOPICS)
    return StoredRecord(made.topic, made.partition, number, made.key, made.value, made.headers, 0)


async def main() -> None:
    """Serves until it is killed."""
    directory = _made_up_directory(QUOTES_IN_MESSAGE)
    backlog = Backlog(directory)
    watches = QuoteWatches(
        cast("PriceCache", EmptyCache()),
        directory,
        lambda on_event: TopicFollower(
            name="marketdata.quotes",
            service="marketdata",
            log=cast("EventLog", backlog),
            topic_map=TOPICS,
            payload="tick_frame",
            on_event=on_event,
            start=Start.LATEST,
            policy=ConsumerOptions(),
        ),
    )
    await watches.start()
    servicer = Servicer(backlog, directory, watches)
    register = partial(add_MarketDataServiceServicer_to_server, servicer)
    mesh = MeshServer("127.0.0.1", 0, [register], structlog.get_logger())
    ours = await mesh.start()
    server, bare = _bare(await _message(watches, backlog))
    await server.start()
    print(ours, bare, flush=True)
    await server.wait_for_termination()


async def _message(watches: QuoteWatches, backlog: Backlog) -> bytes:
    """One of our messages."""
    messages = watches.watch((), 0)
    while (
        len(api.WatchQuotesResponse.FromString(message := await anext(messages)).quotes) < QUOTES_IN_MESSAGE
    ):
        backlog.taken()
    await messages.aclose()  # type: ignore[attr-defined]
    return message


def _bare(message: bytes) -> tuple[grpc.aio.Server, int]:
    async def stream(_: bytes, __: Any) -> AsyncIterator[bytes]:
        while True:
            yield message

    async def encoded(_: bytes, __: Any) -> AsyncIterator[bytes]:
        """The least that has to be done for new prices: a frame is parsed, a message of its quotes filled and encoded."""
        answer = api.WatchQuotesResponse.FromString(message)
        places = [(quote, quote.last_price) for quote in answer.quotes]
        texts = {price: f"{price / 100:.2f}" for price in range(90_000, 130_000)}
        for record in cycle([_record(range(1_000_000, 1_000_000 + len(places)), n) for n in range(FRAMES)]):
            frame = Event.FromString(record.value).tick_frame
            for (quote, price), paise, volume in zip(places, frame.last_price, frame.volume, strict=True):
                price.value = texts[paise]
                quote.volume = volume
            yield answer.SerializeToString()

    handlers = {
        name: grpc.unary_stream_rpc_method_handler(each)
        for name, each in (("Stream", stream), ("Encoded", encoded))
    }
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare", handlers),))
    return server, server.add_insecure_port("127.0.0.1:0")


if __name__ == "__main__":
    asyncio.run(main())
