"""The latest quote of each instrument, encoded once for all who watch it."""

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
_FRAMES_REMEMBERED: Final = 256
_PRICES_REMEMBERED: Final = 65_536


class _Newest(NamedTuple):
    """What all who watch everything and keep up are told next: tokens that moved from a version to another, as bytes."""

    after: int
    version: int
    tokens: list[int]
    message: bytes


class _Prices(dict[int, bytes]):
    """The part of a Quote that says its price, by the price in 1/scale rupees; made when first asked for."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def __missing__(self, price: int) -> bytes:
        value = f"{decimal.Decimal(price) / self.scale:f}"
        part = self[price] = api.Quote(last_price=Decimal(value=value)).SerializeToString()
        return part


class _Begins(dict[int, bytes]):
    """What stands before the bytes of a Quote among the quotes of a message, by their number; made when first asked for."""

    def __missing__(self, length: int) -> bytes:
        field = api.WatchQuotesResponse(quotes=[api.Quote()]).SerializeToString()[:-1]
        counted = api.WatchQuotesResponse(without_price=["x" * length]).SerializeToString()
        begin = self[length] = field + counted[len(field) : -length]
        return begin


class QuoteBoard:
    """The latest quotes, and which of them moved with each of the last frames.

    A reader keeps the version it has seen and nothing else: however slow it is, it takes no memory.

    Args:
        directory: the known instruments; a tick of another is passed over.

    Attributes:
        version: rises by one with each frame that moves a price.
    """

    def __init__(self, directory: InstrumentDirectory) -> None:
        self.version = 0
        self._directory = directory
        # By token: the part of a Quote that says whose it is, the whole quote as bytes, its trade's time (nanoseconds
        # since the epoch), and the version in which it moved.
        self._names: dict[int, bytes] = {}
        self._encoded: dict[int, bytes] = {}
        self._traded_at: dict[int, int] = {}
        self._moved_in: dict[int, int] = {}
        self._moves: deque[list[int]] = deque(maxlen=_FRAMES_REMEMBERED)
        self._market_time_ns = 0
        self._newest = _Newest(0, 0, [], b"")
        self._prices, self._texts = _Prices(1), PriceTexts(1)
        self._page: QuotePage | None = None
        self._begins = _Begins()

    def take(self, frame: TickFrame) -> bool:
        """Takes in a frame; whether a price moved. A tick older than the instrument's quote moves nothing.

        Column by column, because a step of Python for each tick costs more than the encoding.
        """
        if (
            frame.price_scale != self._prices.scale
            or max(len(self._prices), len(self._texts)) > _PRICES_REMEMBERED
        ):
            self._prices, self._texts = _Prices(frame.price_scale), PriceTexts(frame.price_scale)
        tokens, times = frame.instrument_token[:], frame.exchange_time[:]
        prices, volumes = frame.last_price[:], frame.volume[:]
        page = self._page
        if page is not None and page.fits(tokens, times, volumes=bool(volumes)):
            page.apply(self.version + 1, prices, times, volumes, self._texts)
            self._time_is(frame.market_time.seconds * SECOND_NS + frame.market_time.nanos)
            return self._moved(page.tokens)
        self._close_page()
        if not self._all_move(tokens, times):
            moving = self._moving(tokens, times)
            tokens, times, prices, volumes = (
                [column[n] for n in moving] if column else column
                for column in (tokens, times, prices, volumes)
            )
        self._write(tokens, times, map(self._prices.__getitem__, prices), _volumes(volumes))
        self._time_is(frame.market_time.seconds * SECOND_NS + frame.market_time.nanos)
        if 0 < len(tokens) <= QUOTES_IN_MESSAGE and self._moves and tokens == self._moves[-1]:
            quotes = b"".join(map(self._encoded.__getitem__, tokens))
            self._page = QuotePage(tokens, quotes, times, volumes=bool(volumes))
        return self._moved(tokens)

    def begin_with(self, prices: Iterable[tuple[int, CachedPrice]], market_time_ns: int) -> None:
        """Takes in cached prices, by token, of instruments that no frame has told yet."""
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
        self._time_is(market_time_ns)
        self._moved(list(new))

    def clear(self) -> None:
        """Forgets all prices: nobody keeps them up to date any more."""
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
        """Tokens of all quotes; None wants all."""
        return [token for token in self._encoded if wanted is None or token in wanted]

    def updates(self, after: int, wanted: Collection[int] | None) -> Iterator[bytes]:
        """What moved after a version, in messages, each as it stands when it is asked for.

        Those that waited longest come first; None wants all.
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
        """The bytes of a WatchQuotesResponse with these quotes as they stand now."""
        time, page = self._market_time_ns, self._page
        if page is not None:
            if tokens == page.tokens and time and not (snapshot or without_price):
                return page.message(time)
            self._take_from(page)
        head = api.WatchQuotesResponse(
            snapshot=snapshot,
            without_price=without_price,
            market_time=Timestamp(seconds=time // SECOND_NS, nanos=time % SECOND_NS) if time else None,
        )
        # Messages add up when their bytes are joined.
        return head.SerializeToString() + b"".join(map(self._encoded.__getitem__, tokens))

    def _changed(self, after: int) -> list[int]:
        """Tokens of the quotes that moved after a version, those that waited longest first."""
        behind = self.version - after
        if behind == 1 and self._moves:
            return self._moves[-1]
        if behind <= len(self._moves):
            return list(
                dict.fromkeys(chain.from_iterable(islice(self._moves, len(self._moves) - behind, None)))
            )
        if self._page is not None:
            self._take_from(self._page)
        return [token for token, version in self._moved_in.items() if version > after]

    def _all_move(self, tokens: Sequence[int], times: Sequence[int]) -> bool:
        """Whether every tick moves its quote: as a rule."""
        return (
            len(self._traded_at.keys() & tokens) == len(tokens)  # each there, and once
            and not any(map(lt, times, map(self._traded_at.__getitem__, tokens)))
        )

    def _moving(self, tokens: Sequence[int], times: Sequence[int]) -> list[int]:
        """Places of the ticks that move a quote: the last of each instrument that isn't older than what was told."""
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
        """Encodes quotes of instruments that have a name; what a message is made of may be joined from its parts."""
        at = {time_ns: _traded_at(time_ns) for time_ns in set(times)}
        names, traded = map(self._names.__getitem__, tokens), map(at.__getitem__, times)
        quotes = list(map(b"".join, zip(names, prices, traded, volumes, strict=False)))
        begins = map(self._begins.__getitem__, map(len, quotes))
        self._encoded.update(zip(tokens, map(add, begins, quotes), strict=True))
        self._traded_at.update(zip(tokens, times, strict=True))
        self._moved_in.update(dict.fromkeys(tokens, self.version + 1))

    def _take_from(self, page: QuotePage) -> None:
        """Takes over what the page's frames changed."""
        version = page.version
        if version:
            quotes = list(page.quotes_now())
            begins = map(self._begins.__getitem__, map(len, quotes))
            self._encoded.update(zip(page.tokens, map(add, begins, quotes), strict=True))
            self._traded_at.update(zip(page.tokens, page.times, strict=True))
            self._moved_in.update(dict.fromkeys(page.tokens, version))

    def _close_page(self) -> None:
        if self._page is not None:
            self._take_from(self._page)
            self._page = None

    def _moved(self, tokens: list[int]) -> bool:
        if tokens:
            self.version += 1
            self._moves.append(tokens)
        return bool(tokens)

    def _time_is(self, market_time_ns: int) -> None:
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
    """The parts of Quotes that say their volumes; nothing in each where the frame has none."""
    if not volumes:
        return repeat(b"")
    part = api.Quote()
    encode = part.SerializeToString
    return [encode() for part.volume in volumes]


def _traded_at(time_ns: int) -> bytes:
    """The part of a Quote that says when it was traded, given in nanoseconds since the epoch."""
    seconds, nanos = divmod(time_ns, SECOND_NS)
    return api.Quote(traded_at=Timestamp(seconds=seconds, nanos=nanos)).SerializeToString()
