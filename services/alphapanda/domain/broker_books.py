"""A broker's own books, in the same form for every broker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from alphapanda.domain.order import Product


class Holding(NamedTuple):
    """Account, instrument and product: a broker's books add up the positions of all strategies under these."""

    account: str
    instrument_id: str
    product: Product


@dataclass(frozen=True, slots=True)
class BrokerBooks:
    """A broker's own books.

    Attributes:
        filled: units filled by tag, of its newest orders.
        held: units held, those that are not 0.
        cash: what all trades have paid and brought, commission included, by account.
    """

    filled: Mapping[str, int]
    held: Mapping[Holding, int]
    cash: Mapping[str, Decimal]
