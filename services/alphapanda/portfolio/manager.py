"""Manages the portfolios of all brokers: opening accounts, proving the books, and last prices for valuation."""

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
    """A fill's broker has no portfolios here."""

    def __init__(self, broker: str, managed: Iterable[str]) -> None:
        known = ", ".join(sorted(managed)) or "none"
        super().__init__(f"broker {broker!r} has no portfolios here; brokers that have: {known}")


class BooksDisagree(Exception):
    """Cash, positions or totals of an account differ from the sums of its ledger."""

    def __init__(self, name: AccountName, found: str) -> None:
        super().__init__(f"the books of {name.broker} account {name.account!r} disagree: {found}")


class PortfolioManager:
    """The portfolios of all brokers: the books are in the store, all last prices in the memory of each process.

    Brokers differ only in the cash that their accounts begin with.

    Args:
        starting_cash: cash that an account begins with, rupees, 0 or more; by managed broker.
        account: the account that each broker has from the start; others open with their first fill.
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
        """The managed brokers."""
        return tuple(self._starting_cash)

    def starting_cash(self, broker: str) -> Decimal:
        """Cash that an account of the broker begins with, rupees, 0 or more.

        Raises:
            BrokerNotManaged: the broker has no portfolios here.
        """
        cash = self._starting_cash.get(broker)
        if cash is None:
            raise BrokerNotManaged(broker, self._starting_cash)
        return cash

    async def start(self) -> None:
        """Opens each broker's first account if necessary, proves all books, and loads the cached prices.

        Tick frames must be followed before this, so that no price is missed in between.

        Raises:
            BooksDisagree: an account's cash, positions or totals don't follow from its ledger.
        """
        for broker, cash in self._starting_cash.items():
            await self._store.open_account(AccountName(broker, self._account), cash)
        await self.prove()
        directory = self._directory()
        for instrument_id in await self._held():
            directory.by_id(instrument_id)  # an imported instrument is in the directory once it was asked for
        tokens = [instrument.instrument_token for instrument in directory]
        self._marks.seed((await self._market.view(tokens)).prices)

    async def stop(self) -> None:
        """Forgets the prices, because without frames they become stale."""
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

    async def _held(self) -> set[str]:
        """The instruments of all open positions."""
        names = [name for broker in self._starting_cash for name in await self._store.accounts(broker)]
        books = [await self._store.books(name) for name in names]
        return {held.key.instrument_id for one in books if one is not None for held in one.positions}

    def handle_frame(self, frame: Frame) -> None:
        """Updates the last prices in memory from a frame; older prices change nothing."""
        self._marks.apply(frame)

    def prices(self, instrument_ids: Collection[str]) -> Mapping[str, LastPrice]:
        """Last prices by instrument_id; an instrument without a price, unknown or expired, is absent."""
        directory = self._directory()
        found = {}
        for instrument_id in instrument_ids:
            instrument = directory.by_id(instrument_id)
            last = self._marks.last(instrument.instrument_token) if instrument else None
            if last is not None:
                found[instrument_id] = last
        return found
