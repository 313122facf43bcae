"""Slices of the exchange's freeze quantity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.errors import InvalidInput
from alphapanda.trading.core.slicing import MOST_SLICES, slices


@given(lot=st.integers(1, 100), lots=st.integers(1, 2000), freeze=st.integers(0, 20_000))
def test_slices_add_up_and_fit(lot: int, lots: int, freeze: int) -> None:
    """Slices add up to the order, are whole lots within the freeze quantity, and are ten at most; else it is refused."""
    quantity = lot * lots
    try:
        parts = slices(quantity, lot, freeze)
    except InvalidInput:
        assert freeze
        assert quantity > freeze // lot * lot * MOST_SLICES
        return
    assert sum(parts) == quantity
    assert len(parts) <= MOST_SLICES
    assert all(part > 0 and part % lot == 0 and (not freeze or part <= freeze) for part in parts)


@pytest.mark.parametrize("quantity", [0, -5, 7])
def test_a_quantity_off_the_lot_is_refused(quantity: int) -> None:
    """What isn't a positive multiple of the lot is refused with the lot in the message."""
    with pytest.raises(InvalidInput, match="lot of 5"):
        slices(quantity, 5, 100)
