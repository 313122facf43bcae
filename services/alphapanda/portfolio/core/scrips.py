"""Which lines are the same shares: a company's shares have one ISIN, whatever exchange and symbol a line names.

Shares that were delivered are held under the ISIN, so what was bought at the NSE may show as a holding at the BSE. Everything
else is held under its instrument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from alphapanda.domain.order import Product
from alphapanda.portfolio.core.discrepancy import Unit
from alphapanda.portfolio.core.reconciled_books import BrokerUnits

_CASH: Final = ("NSE", "BSE")


class Scrip(NamedTuple):
    """What units are compared under: an ISIN, a symbol of shares whose ISIN isn't known, or an instrument."""

    name: str
    product: Product


class Scrips:
    """Finds the scrip of an instrument and product.

    Args:
        units: what the broker holds; its holdings tell ISINs.
        known: ISINs that were told before, by instrument. What the broker says now comes first: a split changes the ISIN.
    """

    def __init__(self, units: Sequence[BrokerUnits], known: Mapping[str, str]) -> None:
        told = {one.instrument_id: one.isin for one in units if one.isin}
        self._by_instrument = {**known, **told}
        self._by_symbol: dict[str, str] = {}
        for instrument_id, isin in self._by_instrument.items():
            self._by_symbol.setdefault(_symbol(instrument_id), isin)
        for instrument_id, isin in told.items():
            self._by_symbol[_symbol(instrument_id)] = isin

    def of(self, unit: Unit) -> Scrip:
        """The scrip of units."""
        exchange, _, symbol = unit.instrument_id.partition(":")
        if unit.product is not Product.CNC or exchange not in _CASH:
            return Scrip(unit.instrument_id, unit.product)
        isin = self._by_instrument.get(unit.instrument_id) or self._by_symbol.get(symbol)
        return Scrip(isin or symbol, unit.product)


def _symbol(instrument_id: str) -> str:
    return instrument_id.partition(":")[2]
