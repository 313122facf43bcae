"""A message that stands: the quotes of instruments that move together, changed in place with each frame."""

from __future__ import annotations

import decimal
from collections.abc import Iterator, Sequence
from operator import lt

from google.protobuf.timestamp_pb2 import Timestamp

from alphapanda.domain.frame import SECOND_NS
from panda.marketdata.v1 import marketdata_pb2 as api


class PriceTexts(dict[int, str]):
    """Prices as text, by the price in 1/scale rupees; made when first asked for."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def __missing__(self, price: int) -> str:
        text = self[price] = f"{decimal.Decimal(price) / self.scale:f}"
        return text


class QuotePage:
    """The quotes of instruments that the last frames told in the same order.

    Setting what changed in a message that is there, and encoding it whole, costs a third of making its bytes anew.

    Args:
        tokens: the instruments, each once.
        quotes: their quotes as they stand, joined bytes of WatchQuotesResponse.quotes.
        times: of their trades, nanoseconds since the epoch.
        volumes: whether the quotes have volumes.

    Attributes:
        tokens: the instruments.
        times: of their trades.
        version: of the board after the last frame applied since `quotes_now` was asked; 0 where none was.
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
        """Whether a frame tells the same instruments, and none of them older than it stands."""
        return tokens == self.tokens and volumes == self._has_volumes and not any(map(lt, times, self.times))

    def apply(
        self,
        version: int,
        prices: Sequence[int],
        times: Sequence[int],
        volumes: Sequence[int],
        texts: PriceTexts,
    ) -> None:
        """Takes a frame that fits and brings the board to this version; prices in 1/texts.scale rupees."""
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
        """The bytes of a WatchQuotesResponse with all of them."""
        seconds, nanos = divmod(market_time_ns, SECOND_NS)
        self._response.market_time.CopyFrom(Timestamp(seconds=seconds, nanos=nanos))
        return self._response.SerializeToString()

    def quotes_now(self) -> Iterator[bytes]:
        """Each quote as bytes, as it stands."""
        self.version = 0
        return (quote.SerializeToString() for quote in self._quotes)
