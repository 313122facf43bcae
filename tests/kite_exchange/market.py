"""The market's prices: what a feed of ours brings, and what everything else does meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from tests.kite_exchange.clock import SECOND_NS
from tests.kite_exchange.listed import Listed, Listing

DEPTH: Final = 5
_INDEX_BASE: Final = 25_000
_CIRCUIT: Final = Decimal("0.10")
_KNOWN_INDEX: Final = 256265


def hashed(*parts: object) -> int:
    """A number that follows from the parts alone."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=6).digest())


@dataclass(slots=True)
class Quote:
    """The latest of an instrument. Prices are whole numbers in units of its divisor.

    Attributes:
        listed: the instrument.
        last: the last traded price.
        open, high, low: of the day.
        close: the previous day's close.
        volume: units traded in the day.
        turnover: sum of price times quantity.
        last_quantity: units of the last trade.
        time_ns: the exchange's time of the last change; 0 before the first.
        liquidity: units that can be traded at the last price before the next one; None: any number.
    """

    listed: Listed
    last: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    turnover: int = 0
    last_quantity: int = 0
    time_ns: int = 0
    liquidity: int | None = None

    @property
    def rupees(self) -> Decimal:
        """The last price."""
        return self.price(self.last)

    def price(self, units: int) -> Decimal:
        """A price of this instrument in rupees."""
        return Decimal(units) / self.listed.divisor

    def units(self, rupees: Decimal) -> int:
        """A price in rupees on the instrument's grid, in its units."""
        tick = self.listed.tick
        return max(tick, round(rupees * self.listed.divisor / tick) * tick)

    @property
    def circuit(self) -> tuple[Decimal, Decimal]:
        """The lowest and the highest price of the day, rupees."""
        close = self.price(self.close)
        return self.price(self.units(close * (1 - _CIRCUIT))), self.price(self.units(close * (1 + _CIRCUIT)))

    @property
    def average(self) -> int:
        """The day's average traded price."""
        return self.turnover // self.volume if self.volume else 0

    def depth(self) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
        """Bids and offers, the best first: quantity, price, orders."""
        tick, token = self.listed.tick, self.listed.instrument_token
        sides: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]] = ([], [])
        for side, book in enumerate(sides):
            for level in range(1, DEPTH + 1):
                price = self.last + (level if side else -level) * tick
                drawn = hashed(token, self.time_ns, side, level)
                book.append((drawn % 900 + 1, max(price, tick), drawn % 17 + 1))
        return sides


@dataclass(slots=True)
class Market:
    """The quotes of a day's instruments.

    Attributes:
        listing: the instruments.
        changed: is told the tokens whose prices have changed.
    """

    listing: Listing
    changed: list[Callable[[set[int]], None]] = field(default_factory=list)
    _quotes: dict[int, Quote] = field(default_factory=dict)
    _followed: dict[int, int] = field(default_factory=dict)

    def quote(self, token: int) -> Quote | None:
        """The quote of an instrument; None if none is listed under the token."""
        known = self._quotes.get(token)
        if known is None:
            listed = self.listing.by_token.get(token)
            if listed is None:
                return None
            known = self._quotes[token] = _first_quote(listed)
        return known

    def by_key(self, key: str) -> Quote | None:
        """The quote of "NSE:INFY"; None if it isn't listed."""
        listed = self.listing.by_key.get(key)
        return None if listed is None else self.quote(listed.instrument_token)

    def list_day(self, listing: Listing) -> None:
        """The next day's instruments: what was listed before closes at its last price, what is new begins."""
        before, self._quotes = self._quotes, {}
        self._followed.clear()
        self.listing = listing
        for token, old in before.items():
            quote = self.quote(token)
            if quote is not None and quote.listed.key == old.listed.key:
                quote.last = quote.open = quote.high = quote.low = quote.close = old.last

    def opens(self, prices: Iterable[tuple[int, int]]) -> None:
        """Tells the previous closes, by token, in units, before the first tick: the day begins from them."""
        for token, close in prices:
            quote = self.quote(token)
            if quote is not None:
                quote.last = quote.open = quote.high = quote.low = quote.close = close

    def trade(
        self, ticks: Iterable[tuple[int, int, int | None]], time_ns: int, *, followed: bool = False
    ) -> set[int]:
        """Takes trades over, each a token, a price in units and the day's volume, and tells who listens.

        Returns:
            The tokens that changed: the index NIFTY 50 moves with the stocks that follow a feed.
        """
        touched: set[int] = set()
        for token, price, volume in ticks:
            quote = self.quote(token)
            if quote is None:
                continue
            if followed and token not in self._followed:
                self._followed[token] = price
            _take(quote, price, volume, time_ns)
            touched.add(token)
        if followed and touched:
            self._move_index(time_ns)
            touched.add(_KNOWN_INDEX)
        self._tell(touched)
        return touched

    def set_price(self, token: int, rupees: Decimal, time_ns: int) -> None:
        """Moves one price.

        Raises:
            KeyError: no instrument has this token.
        """
        quote = self.quote(token)
        if quote is None:
            raise KeyError(token)
        self.trade([(token, quote.units(rupees), None)], time_ns)

    def wander(self, tokens: Iterable[int], time_ns: int) -> set[int]:
        """Lets the instruments that follow no feed trade: about a third of them, a step up or down."""
        moved = []
        for token in tokens:
            quote = None if token in self._followed or token == _KNOWN_INDEX else self.quote(token)
            if quote is None:
                continue
            drawn = hashed(token, time_ns)
            if drawn % 3 == 0:
                steps = drawn // 3 % 5 - 2
                low, high = quote.circuit
                tick = quote.listed.tick
                price = min(max(quote.last + steps * tick, quote.units(low)), quote.units(high))
                moved.append((token, price, None if quote.listed.index else quote.volume + drawn % 50 + 1))
        return self.trade(moved, time_ns)

    def _move_index(self, time_ns: int) -> None:
        quote = self.quote(_KNOWN_INDEX)
        if quote is None:
            return
        ratios = [self._quotes[token].last / first for token, first in self._followed.items()]
        level = round(_INDEX_BASE * 100 * sum(ratios) / len(ratios))
        if not quote.time_ns:
            quote.open = quote.high = quote.low = quote.close = _INDEX_BASE * 100
        _take(quote, level, None, time_ns)

    def _tell(self, tokens: set[int]) -> None:
        if tokens:
            for listener in self.changed:
                listener(tokens)


def _take(quote: Quote, price: int, volume: int | None, time_ns: int) -> None:
    if volume is None:
        volume = quote.volume + (0 if quote.listed.index else 1)
    quantity = max(volume - quote.volume, 0)
    quote.last = price
    quote.high = max(quote.high, price)
    quote.low = min(quote.low, price)
    quote.volume = max(volume, quote.volume)
    quote.turnover += quantity * price
    quote.last_quantity = quantity or quote.last_quantity
    quote.time_ns = time_ns
    quote.liquidity = None


def _first_quote(listed: Listed) -> Quote:
    """A quote before the first trade: a price that follows from the token."""
    tick = listed.tick
    rupees = 50 + hashed(listed.instrument_token) % 2_000
    price = max(rupees * listed.divisor // tick * tick, tick)
    return Quote(listed, price, price, price, price, price)


def exchange_second(quote: Quote) -> int:
    """The exchange's time of a quote, seconds since the epoch."""
    return quote.time_ns // SECOND_NS
