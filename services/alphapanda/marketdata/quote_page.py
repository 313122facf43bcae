"""The fast path of WatchQuotes: one message, updated in place, for frames with the same instruments."""

from __future__ import annotations

import decimal
from collections.abc import Iterator, Sequence
from operator import lt

from google.protobuf.timestamp_pb2 import Timestamp

from alphapanda.domain.frame import SECOND_NS
from panda.marketdata.v1 import marketdata_pb2 as api


class PriceTexts(dict[int, str]):
    """A cache of prices as text, by the price in 1/scale rupees."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def __missing__(self, price: int) -> str:
        text = self[price] = f"{decimal.Decimal(price) / self.scale:f}"
        return text


class QuotePage:
    """The quotes of instruments that the last frames had in the same order, as one message.

    Updating fields of an existing message and encoding it costs a third of building the message again.

    Args:
        tokens: tokens of the instruments, each once.
        quotes: their current quotes: joined bytes of WatchQuotesResponse.quotes.
        times: times of their last trades, nanoseconds since the epoch.
        volumes: whether the quotes have volumes.

    Attributes:
        tokens: tokens of the instruments.
        times: times of their last trades, nanoseconds since the epoch.
        version: version of the board after the last frame applied since `quotes_now` was called; 0 if there was none.
    """

    def __init__(self, tokens: list[int], quotes: bytes, times: Sequence[int], *, volumes: bool) -> None:
        self.tokens = tokens
        self.times = times
        self.version = 0
        self._has_volumes = volumes
        self._response = api.WatchQuotesResponse.FromString(quotes)
        self._quotes = list(self._response.quotes)
        self._prices = [quote.last_price for quote in self._quotes]
        self._stamps = [quote.traded_at for quote in self._quotes]

    def fits(self, tokens: Sequence[int], times: Sequence[int], *, volumes: bool) -> bool:
        """Whether a frame has the same instruments, and no tick older than the current quote."""
        return tokens == self.tokens and volumes == self._has_volumes and not any(map(lt, times, self.times))

    def apply(
        self,
        version: int,
        prices: Sequence[int],
        times: Sequence[int],
        volumes: Sequence[int],
        texts: PriceTexts,
    ) -> None:
        """Applies a frame for which `fits` is true; `version` is the board's version after it, prices in 1/texts.scale rupees."""
        for place, price in zip(self._prices, prices, strict=True):
            place.value = texts[price]
        if volumes:
            for quote, volume in zip(self._quotes, volumes, strict=True):
                quote.volume = volume
        if times != self.times:
            for stamp, time_ns in zip(self._stamps, times, strict=True):
                stamp.seconds, stamp.nanos = divmod(time_ns, SECOND_NS)
        self.times = times
        self.version = version

    def message(self, market_time_ns: int) -> bytes:
        """The encoded WatchQuotesResponse with all quotes."""
        seconds, nanos = divmod(market_time_ns, SECOND_NS)
        self._response.market_time.CopyFrom(Timestamp(seconds=seconds, nanos=nanos))
        return self._response.SerializeToString()

    def quotes_now(self) -> Iterator[bytes]:
        """The current quotes, each encoded."""
        self.version = 0
        return (quote.SerializeToString() for quote in self._quotes)
