"""Manages the portfolios of all brokers: which accounts there are, their proof, and the last prices they are valued at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal

from alphapanda.domain.frame import Frame
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.market import LastPrice
from alphapanda.portfolio.core.marks import Marks
from alphapanda.portfolio.store.port import AccountName, PortfolioStore
from alphapanda.storage.price_cache import MarketViews


class BrokerNotManaged(LookupError):
    """A fill of a broker whose portfolios are not kept here."""

    def __init__(self, broker: str, managed: Iterable[str]) -> None:
        known = ", ".join(sorted(managed)) or "none"
        super().__init__(f"broker {broker!r} has no portfolios here; brokers that have: {known}")


class BooksDisagree(Exception):
    """Cash, positions or totals of an account differ from what its ledger adds up to."""

    def __init__(self, name: AccountName, found: str) -> None:
        super().__init__(f"the books of {name.broker} account {name.account!r} disagree: {found}")


class PortfolioManager:
    """The portfolios of all brokers. What fills made is in the store; last prices are in memory, in each process whole.

    Brokers differ by data alone: what the ledger of their accounts begins with.

    Args:
        starting_cash: rupees, 0 or more, that an account begins with, by managed broker.
        account: the account of each broker that is open from the start; others open with their first fill.
        store: the books.
        market: reads the price cache.
        directory: the instruments of today.
    """

    def __init__(
        self,
        starting_cash: Mapping[str, Decimal],
        account: str,
        store: PortfolioStore,
        market: MarketViews,
        directory: Callable[[], InstrumentDirectory],
    ) -> None:
        self._starting_cash = starting_cash
        self._account = account
        self._store = store
        self._market = market
        self._directory = directory
        self._marks = Marks()

    @property
    def brokers(self) -> tuple[str, ...]:
        """The managed ones."""
        return tuple(self._starting_cash)

    def starting_cash(self, broker: str) -> Decimal:
        """Rupees that an account of the broker begins with, 0 or more.

        Raises:
            BrokerNotManaged: its portfolios are not kept here.
        """
        cash = self._starting_cash.get(broker)
        if cash is None:
            raise BrokerNotManaged(broker, self._starting_cash)
        return cash

    async def start(self) -> None:
        """Opens each broker's first account where it isn't open, proves all books, takes the cached prices.

        Frames are followed by then, so no price is missed between the two.

        Raises:
            BooksDisagree: an account's cash, positions or totals don't follow from its ledger.
        """
        for broker, cash in self._starting_cash.items():
            await self._store.open_account(AccountName(broker, self._account), cash)
        await self.prove()
        tokens = [instrument.instrument_token for instrument in self._directory()]
        self._marks.seed((await self._market.view(tokens)).prices)

    async def stop(self) -> None:
        """Forgets the prices: without frames they only grow old."""
        self._marks = Marks()

    async def prove(self) -> int:
        """Proves every account's books against its ledger; returns how many accounts there are.

        Raises:
            BooksDisagree: the first account whose books differ.
        """
        names = [name for broker in self._starting_cash for name in await self._store.accounts(broker)]
        for name in names:
            if found := await self._store.disagreements(name):
                raise BooksDisagree(name, "; ".join(found))
        return len(names)

    def handle_frame(self, frame: Frame) -> None:
        """Takes the frame's prices, in memory; older ones change nothing."""
        self._marks.apply(frame)

    def prices(self, instrument_ids: Collection[str]) -> Mapping[str, LastPrice]:
        """Last prices by instrument_id; an instrument that has none, is unknown or has expired is absent."""
        directory = self._directory()
        found = {}
        for instrument_id in instrument_ids:
            instrument = directory.by_id(instrument_id)
            last = self._marks.last(instrument.instrument_token) if instrument else None
            if last is not None:
                found[instrument_id] = last
        return found
