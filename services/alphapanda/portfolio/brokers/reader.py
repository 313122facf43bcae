"""The interface to a broker's own books."""

from __future__ import annotations

from abc import ABC, abstractmethod

from alphapanda.portfolio.core.reconciled_books import BrokerBooks
from alphapanda.portfolio.store.port import AccountName


class BooksUnreadable(Exception):
    """The broker can't be asked now, or part of its books didn't come: nothing is compared. The message says why."""


class BrokerReader(ABC):
    """Reads a broker's books.

    Attributes:
        is_live: whether they are of real money: they are compared at the start and at an interval, and differences halt.
    """

    is_live: bool

    @abstractmethod
    async def read(self, name: AccountName) -> BrokerBooks:
        """The books of an account, as of now, or of the moment at which the answers were made.

        Raises:
            BooksUnreadable: not all of them could be read.
        """
