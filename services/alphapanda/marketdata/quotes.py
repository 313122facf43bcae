"""The latest quote of each instrument, encoded once for all who watch it."""

from __future__ import annotations

import decimal
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Final, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal

from alphapanda.domain.frame import SECOND_NS, nanoseconds
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
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


class _Line:
    """An instrument's quote as it stands.

    Attributes:
        name: the bytes of a Quote that says which instrument it is of, and nothing else.
        encoded: the bytes of `quotes: [it]`.
        traded_at_ns: time of the trade, nanoseconds since the epoch.
        version: of the board, when it moved.
    """

    __slots__ = ("encoded", "name", "traded_at_ns", "version")

    def __init__(self, instrument: Instrument) -> None:
        self.name = api.Quote(
            instrument_id=instrument.instrument_id,
            instrument_token=instrument.instrument_token,
            symbol=instrument.symbol,
        ).SerializeToString()
        self.encoded = b""
        self.traded_at_ns = 0
        self.version = 0


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
        self._lines: dict[int, _Line] = {}
        self._moves: deque[list[int]] = deque(maxlen=_FRAMES_REMEMBERED)
        self._market_time_ns = 0
        self._newest = _Newest(0, 0, [], b"")
        self._begins: dict[int, bytes] = {}
        self._scale = 0
        self._prices: dict[int, bytes] = {}

    def take(self, frame: TickFrame) -> bool:
        """Takes in a frame; whether a price moved. A tick older than the instrument's quote moves nothing."""
        version, scale = self.version + 1, frame.price_scale
        if scale != self._scale or len(self._prices) > _PRICES_REMEMBERED:
            self._scale, self._prices = scale, {}
        prices, joined = self._prices.get, b"".join
        known, begins, moved = self._lines.get, self._begins.get, []
        time_ns, at = -1, b""
        volume_alone = api.Quote()
        encode_volume = volume_alone.SerializeToString
        for token, price, traded_at_ns, volume in zip(
            frame.instrument_token,
            frame.last_price,
            frame.exchange_time,
            frame.volume or repeat(None),
            strict=False,  # the frame was checked when it was read; an absent column is endless
        ):
            line = known(token) or self._line(token)
            if line is None or traded_at_ns < line.traded_at_ns:
                continue
            line.traded_at_ns = traded_at_ns
            line.version = version
            if traded_at_ns != time_ns:
                time_ns, at = traded_at_ns, _traded_at(traded_at_ns)
            priced = prices(price) or self._priced(price, scale)
            if volume is None:
                quote = line.name + priced + at
            else:
                volume_alone.volume = volume
                quote = joined((line.name, priced, at, encode_volume()))
            line.encoded = (begins(len(quote)) or self._begin(quote)) + quote
            moved.append(token)
        self._time_is(frame.market_time.seconds * SECOND_NS + frame.market_time.nanos)
        return self._moved(moved)

    def begin_with(self, prices: Iterable[tuple[int, CachedPrice]], market_time_ns: int) -> None:
        """Takes in cached prices, by token, of instruments that no frame has told yet."""
        moved = []
        for token, cached in prices:
            if token in self._lines or (line := self._line(token)) is None:
                continue
            line.traded_at_ns = nanoseconds(cached.last.traded_at)
            line.version = self.version + 1
            rest = api.Quote(last_price=Decimal(value=f"{cached.last.price:f}"), volume=cached.volume)
            quote = line.name + rest.SerializeToString() + _traded_at(line.traded_at_ns)
            line.encoded = (self._begins.get(len(quote)) or self._begin(quote)) + quote
            moved.append(token)
        self._time_is(market_time_ns)
        self._moved(moved)

    def clear(self) -> None:
        """Forgets all prices: nobody keeps them up to date any more."""
        self._lines.clear()
        self._moves.clear()
        self._market_time_ns = 0

    def holds(self, token: int) -> bool:
        """Whether an instrument has a quote."""
        return token in self._lines

    def priced(self, wanted: Collection[int] | None) -> list[int]:
        """Tokens of all quotes; None wants all."""
        return [token for token in self._lines if wanted is None or token in wanted]

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
        time = self._market_time_ns
        head = api.WatchQuotesResponse(
            snapshot=snapshot,
            without_price=without_price,
            market_time=Timestamp(seconds=time // SECOND_NS, nanos=time % SECOND_NS) if time else None,
        )
        # Messages add up when their bytes are joined.
        return head.SerializeToString() + b"".join([self._lines[token].encoded for token in tokens])

    def _changed(self, after: int) -> list[int]:
        """Tokens of the quotes that moved after a version, those that waited longest first."""
        behind = self.version - after
        if behind == 1 and self._moves:
            return self._moves[-1]
        if behind <= len(self._moves):
            return list(
                dict.fromkeys(chain.from_iterable(islice(self._moves, len(self._moves) - behind, None)))
            )
        return [token for token, line in self._lines.items() if line.version > after]

    def _moved(self, tokens: list[int]) -> bool:
        if tokens:
            self.version += 1
            self._moves.append(tokens)
        return bool(tokens)

    def _priced(self, price: int, scale: int) -> bytes:
        """The part of a Quote that says its price, given in 1/scale rupees."""
        value = f"{decimal.Decimal(price) / scale:f}"
        priced = self._prices[price] = api.Quote(last_price=Decimal(value=value)).SerializeToString()
        return priced

    def _begin(self, quote: bytes) -> bytes:
        begin = self._begins[len(quote)] = _beginning(quote)
        return begin

    def _time_is(self, market_time_ns: int) -> None:
        self._market_time_ns = max(self._market_time_ns, market_time_ns)

    def _line(self, token: int) -> _Line | None:
        line = self._lines.get(token)
        if line is None:
            instrument = self._directory.by_token(token)
            if instrument is None:
                return None
            line = self._lines[token] = _Line(instrument)
        return line


# A message is the bytes of its parts, joined; so what many quotes share is encoded once, and protobuf does it.


def _traded_at(time_ns: int) -> bytes:
    """The part of a Quote that says when it was traded, given in nanoseconds since the epoch."""
    seconds, nanos = divmod(time_ns, SECOND_NS)
    return api.Quote(traded_at=Timestamp(seconds=seconds, nanos=nanos)).SerializeToString()


def _beginning(quote: bytes) -> bytes:
    """What stands before the bytes of a Quote among the quotes of a message; the same for all that are as long."""
    whole = api.WatchQuotesResponse(quotes=[api.Quote.FromString(quote)]).SerializeToString()
    return whole[: len(whole) - len(quote)]
