"""Paper portfolios. Nobody else keeps them, so the ledger is the source of truth."""

from __future__ import annotations

from decimal import Decimal

from typing_extensions import override

from alphapanda.portfolio.core.book import Booking
from alphapanda.portfolio.managers.base import BasePortfolioManager
from alphapanda.portfolio.store.port import AccountName, BookingUnit, ReceivedFill


class BooksDisagree(Exception):
    """Cash or positions of an account aren't what its ledger adds up to."""

    def __init__(self, name: AccountName, found: str) -> None:
        super().__init__(f"the books of {name.broker} account {name.account!r} disagree: {found}")


class PaperPortfolioManager(BasePortfolioManager):
    """Books every fill in the ledger; cash and positions are kept beside it and proved against it at each start."""

    @property
    @override
    def starting_cash(self) -> Decimal:
        return self._parts.starting_cash

    @override
    async def start(self) -> None:
        """Opens the default account where it isn't open, proves every account's books, marks at the cached prices.

        Raises:
            BooksDisagree: an account's cash or positions don't follow from its ledger.
        """
        name = AccountName(self.broker, self._parts.account)
        await self._parts.store.open_account(name, self.starting_cash)
        await self.prove()
        await super().start()

    @override
    async def prove(self) -> int:
        """Cash and positions follow from the ledger: nobody else keeps these books."""
        names = await self._parts.store.accounts(self.broker)
        for name in names:
            if found := await self._parts.store.disagreements(name):
                raise BooksDisagree(name, "; ".join(found))
        return len(names)

    @override
    def handle_fill(self, received: ReceivedFill, unit: BookingUnit) -> Booking | None:
        return unit.book(received)
