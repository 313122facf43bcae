"""What manages the portfolios of one broker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from alphapanda.domain.frame import Frame
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.market import LastPrice
from alphapanda.portfolio.core.book import Booking
from alphapanda.portfolio.core.marks import Marks
from alphapanda.portfolio.store.port import BookingUnit, PortfolioStore, ReceivedFill
from alphapanda.storage.price_cache import MarketViews


@dataclass(frozen=True, slots=True)
class ManagerParts:
    """What every manager is built of.

    Attributes:
        account: the account that exists from the start.
        starting_cash: rupees a paper account is opened with, > 0.
        store: the books.
        market: reads the price cache.
        directory: the instruments of today.
    """

    account: str
    starting_cash: Decimal
    store: PortfolioStore
    market: MarketViews
    directory: Callable[[], InstrumentDirectory]


class BasePortfolioManager(ABC):
    """The portfolios of one broker: books fills, marks them at the last prices.

    Marks live in memory, in each process whole; what fills made is in the store.

    Args:
        broker: whose.
        parts: see ManagerParts.
    """

    def __init__(self, broker: str, parts: ManagerParts) -> None:
        self.broker = broker
        self._parts = parts
        self._marks = Marks()

    @property
    @abstractmethod
    def starting_cash(self) -> Decimal:
        """Rupees an account is opened with when a fill names it first, > 0."""

    async def start(self) -> None:
        """Marks at the cached prices. Frames are followed by then, so that none is missed between the two."""
        tokens = [instrument.instrument_token for instrument in self._parts.directory()]
        self._marks.seed((await self._parts.market.view(tokens)).prices)

    @abstractmethod
    async def prove(self) -> int:
        """Proves every account's books; returns how many accounts there are.

        Raises:
            BooksDisagree: an account's cash or positions aren't what they should be.
        """

    async def stop(self) -> None:
        """Forgets the marks: without frames they only grow old."""
        self._marks = Marks()

    @abstractmethod
    def handle_fill(self, received: ReceivedFill, unit: BookingUnit) -> Booking | None:
        """Books a fill in the unit of its batch; None where it was booked before.

        Raises:
            InvalidInput: an amount the ledger can't hold.
        """

    def handle_frame(self, frame: Frame) -> None:
        """Marks at the frame's prices, in memory; older ones change nothing."""
        self._marks.apply(frame)

    def prices(self, instrument_ids: Collection[str]) -> Mapping[str, LastPrice]:
        """Last prices by instrument_id; an instrument that has none, is unknown or has expired is absent."""
        directory = self._parts.directory()
        found = {}
        for instrument_id in instrument_ids:
            instrument = directory.by_id(instrument_id)
            last = self._marks.last(instrument.instrument_token) if instrument else None
            if last is not None:
                found[instrument_id] = last
        return found
