"""The latest quote of each instrument, encoded once for all watches."""

from __future__ import annotations

import decimal
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from operator import add, lt
from typing import Final, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal

from alphapanda.domain.frame import SECOND_NS, nanoseconds
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.marketdata.quote_page import PriceTexts, QuotePage
from alphapanda.storage.price_cache import CachedPrice
from panda.events.v1.frame_pb2 import TickFrame
from panda.marketdata.v1 import marketdata_pb2 as api

QUOTES_IN_MESSAGE: Final = 100
"""Maximum number of quotes in a message of WatchQuotes."""
_MAX_FRAMES: Final = 256
_MAX_PRICES: Final = 65_536


class _Newest(NamedTuple):
    """The cached next message for watches of all instruments: the quotes that moved after version `after`."""

    after: int
    version: int
    tokens: list[int]
    message: bytes


class _Prices(dict[int, bytes]):
    """A cache of a Quote's encoded price field, by the price in 1/scale rupees."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def __missing__(self, price: int) -> bytes:
        value = f"{decimal.Decimal(price) / self.scale:f}"
        part = self[price] = api.Quote(last_price=Decimal(value=value)).SerializeToString()
        return part


class _QuotePrefixes(dict[int, bytes]):
    """A cache of the field tag and length that precede a Quote in an encoded message, by the Quote's length in bytes."""

    def __missing__(self, length: int) -> bytes:
        field = api.WatchQuotesResponse(quotes=[api.Quote()]).SerializeToString()[:-1]
        counted = api.WatchQuotesResponse(without_price=["x" * length]).SerializeToString()
        begin = self[length] = field + counted[len(field) : -length]
        return begin


class QuoteBoard:
    """The latest quotes, and which of them moved with each of the last frames.

    A watch stores only the version that it has sent, so a slow watch uses no memory.

    Args:
        directory: the known instruments; ticks of other instruments are ignored.

    Attributes:
        version: rises by one with each frame that moves a price.
    """

    def __init__(self, directory: InstrumentDirectory) -> None:
        self.version = 0
        self._directory = directory
        # By token: the Quote's encoded instrument fields, the whole encoded quote, the time of its trade (nanoseconds since
        # the epoch), and the version in which it moved last.
        self._names: dict[int, bytes] = {}
        self._encoded: dict[int, bytes] = {}
        self._traded_at: dict[int, int] = {}
        self._moved_in: dict[int, int] = {}
        self._moves: deque[list[int]] = deque(maxlen=_MAX_FRAMES)
        self._market_time_ns = 0
        self._newest = _Newest(0, 0, [], b"")
        self._prices, self._texts = _Prices(1), PriceTexts(1)
        self._page: QuotePage | None = None
        self._prefixes = _QuotePrefixes()

    def apply(self, frame: TickFrame) -> bool:
        """Applies a frame; returns whether a quote moved. A tick older than the instrument's quote is ignored.

        It works column by column, because Python code for each tick would cost more than the encoding.
        """
        if frame.price_scale != self._prices.scale or max(len(self._prices), len(self._texts)) > _MAX_PRICES:
            self._prices, self._texts = _Prices(frame.price_scale), PriceTexts(frame.price_scale)
        tokens, times = frame.instrument_token[:], frame.exchange_time[:]
        prices, volumes = frame.last_price[:], frame.volume[:]
        page = self._page
        if page is not None and page.fits(tokens, times, volumes=bool(volumes)):
            page.apply(self.version + 1, prices, times, volumes, self._texts)
            self._advance_time(frame.market_time.seconds * SECOND_NS + frame.market_time.nanos)
            return self._moved(page.tokens)
        self._end_page()
        if not self._all_move(tokens, times):
            moving = self._moving(tokens, times)
            tokens, times, prices, volumes = (
                [column[n] for n in moving] if column else column
                for column in (tokens, times, prices, volumes)
            )
        self._write(tokens, times, map(self._prices.__getitem__, prices), _volumes(volumes))
        self._advance_time(frame.market_time.seconds * SECOND_NS + frame.market_time.nanos)
        if 0 < len(tokens) <= QUOTES_IN_MESSAGE and self._moves and tokens == self._moves[-1]:
            quotes = b"".join(map(self._encoded.__getitem__, tokens))
            self._page = QuotePage(tokens, quotes, times, volumes=bool(volumes))
        return self._moved(tokens)

    def add_cached(self, prices: Iterable[tuple[int, CachedPrice]], market_time_ns: int) -> None:
        """Adds cached prices, by token, of instruments that were in no frame yet."""
        new = {
            token: cached
            for token, cached in prices
            if token not in self._encoded and self._name(token) is not None
        }
        parts = [
            api.Quote(
                last_price=Decimal(value=f"{cached.last.price:f}"), volume=cached.volume
            ).SerializeToString()
            for cached in new.values()
        ]
        times = [nanoseconds(cached.last.traded_at) for cached in new.values()]
        self._write(list(new), times, parts, repeat(b""))
        self._advance_time(market_time_ns)
        self._moved(list(new))

    def clear(self) -> None:
        """Removes all quotes, because frames are no longer followed."""
        self._page = None
        self._encoded.clear()
        self._traded_at.clear()
        self._moved_in.clear()
        self._moves.clear()
        self._market_time_ns = 0

    def holds(self, token: int) -> bool:
        """Whether an instrument has a quote."""
        return token in self._encoded

    def priced(self, wanted: Collection[int] | None) -> list[int]:
        """The tokens of all wanted quotes; None: of all quotes."""
        return [token for token in self._encoded if wanted is None or token in wanted]

    def updates(self, after: int, wanted: Collection[int] | None) -> Iterator[bytes]:
        """The messages with the quotes that moved after a version.

        Each message is made when the iterator reaches it, with the quotes at that time. Quotes that moved first come first.

        Args:
            after: the version.
            wanted: tokens of the wanted instruments; None: all.
        """
        if wanted is None:
            newest = self._newest
            if (newest.after, newest.version) != (after, self.version):
                tokens = self._changed(after)
                newest = self._newest = _Newest(
                    after, self.version, tokens, self.message(tokens[:QUOTES_IN_MESSAGE])
                )
            if newest.tokens:
                yield newest.message
            tokens = newest.tokens[QUOTES_IN_MESSAGE:]
        else:
            tokens = [token for token in self._changed(after) if token in wanted]
        for begin in range(0, len(tokens), QUOTES_IN_MESSAGE):
            yield self.message(tokens[begin : begin + QUOTES_IN_MESSAGE])

    def message(
        self, tokens: Iterable[int], *, snapshot: bool = False, without_price: Sequence[str] = ()
    ) -> bytes:
        """The encoded WatchQuotesResponse with the current quotes of these instruments."""
        time, page = self._market_time_ns, self._page
        if page is not None:
            if tokens == page.tokens and time and not (snapshot or without_price):
                return page.message(time)
            self._merge_page(page)
        head = api.WatchQuotesResponse(
            snapshot=snapshot,
            without_price=without_price,
            market_time=Timestamp(seconds=time // SECOND_NS, nanos=time % SECOND_NS) if time else None,
        )
        # Joining the bytes of protobuf messages merges them.
        return head.SerializeToString() + b"".join(map(self._encoded.__getitem__, tokens))

    def _changed(self, after: int) -> list[int]:
        """The tokens of the quotes that moved after a version, those that moved first come first."""
        behind = self.version - after
        if behind == 1 and self._moves:
            return self._moves[-1]
        if behind <= len(self._moves):
            return list(
                dict.fromkeys(chain.from_iterable(islice(self._moves, len(self._moves) - behind, None)))
            )
        if self._page is not None:
            self._merge_page(self._page)
        return [token for token, version in self._moved_in.items() if version > after]

    def _all_move(self, tokens: Sequence[int], times: Sequence[int]) -> bool:
        """Whether every tick moves a quote of its own, as is usual."""
        return (
            len(self._traded_at.keys() & tokens) == len(tokens)  # each there, and once
            and not any(map(lt, times, map(self._traded_at.__getitem__, tokens)))
        )

    def _moving(self, tokens: Sequence[int], times: Sequence[int]) -> list[int]:
        """Indexes of the ticks that move a quote: the last one of each instrument that isn't older than its quote."""
        last: dict[int, int] = {}
        newest: dict[int, int] = {}
        for place, (token, time_ns) in enumerate(zip(tokens, times, strict=True)):
            if time_ns < newest.get(token, self._traded_at.get(token, 0)) or self._name(token) is None:
                continue
            newest[token] = time_ns
            last[token] = place
        return list(last.values())

    def _write(
        self, tokens: Sequence[int], times: Sequence[int], prices: Iterable[bytes], volumes: Iterable[bytes]
    ) -> None:
        """Encodes and stores quotes by joining their encoded fields; the instruments' fields must be in `_names`."""
        at = {time_ns: _traded_at(time_ns) for time_ns in set(times)}
        names, traded = map(self._names.__getitem__, tokens), map(at.__getitem__, times)
        quotes = list(map(b"".join, zip(names, prices, traded, volumes, strict=False)))
        begins = map(self._prefixes.__getitem__, map(len, quotes))
        self._encoded.update(zip(tokens, map(add, begins, quotes), strict=True))
        self._traded_at.update(zip(tokens, times, strict=True))
        self._moved_in.update(dict.fromkeys(tokens, self.version + 1))

    def _merge_page(self, page: QuotePage) -> None:
        """Copies the page's quotes back to the board, if frames have changed them."""
        version = page.version
        if version:
            quotes = list(page.quotes_now())
            begins = map(self._prefixes.__getitem__, map(len, quotes))
            self._encoded.update(zip(page.tokens, map(add, begins, quotes), strict=True))
            self._traded_at.update(zip(page.tokens, page.times, strict=True))
            self._moved_in.update(dict.fromkeys(page.tokens, version))

    def _end_page(self) -> None:
        if self._page is not None:
            self._merge_page(self._page)
            self._page = None

    def _moved(self, tokens: list[int]) -> bool:
        if tokens:
            self.version += 1
            self._moves.append(tokens)
        return bool(tokens)

    def _advance_time(self, market_time_ns: int) -> None:
        self._market_time_ns = max(self._market_time_ns, market_time_ns)

    def _name(self, token: int) -> bytes | None:
        name = self._names.get(token)
        if name is None:
            instrument = self._directory.by_token(token)
            if instrument is None:
                return None
            name = self._names[token] = api.Quote(
                instrument_id=instrument.instrument_id,
                instrument_token=instrument.instrument_token,
                symbol=instrument.symbol,
            ).SerializeToString()
        return name


def _volumes(volumes: Sequence[int]) -> Iterable[bytes]:
    """The encoded volume fields of quotes; empty if the frame has no volumes."""
    if not volumes:
        return repeat(b"")
    part = api.Quote()
    encode = part.SerializeToString
    return [encode() for part.volume in volumes]


def _traded_at(time_ns: int) -> bytes:
    """A Quote's encoded traded_at field, from nanoseconds since the epoch."""
    seconds, nanos = divmod(time_ns, SECOND_NS)
    return api.Quote(traded_at=Timestamp(seconds=seconds, nanos=nanos)).SerializeToString()
