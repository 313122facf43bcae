from __future__ import annotations

from decimal import Decimal
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.number_text import grouped, rupees, short_rupees


@pytest.mark.parametrize(
    ("value", "indian", "thousands"),
    [
        (0, "0", "0"),
        (-999, "-999", "-999"),
        (1000, "1,000", "1,000"),
        (99_999, "99,999", "99,999"),
        (100_000, "1,00,000", "100,000"),
        (-1_234_567, "-12,34,567", "-1,234,567"),
        (10**9, "1,00,00,00,000", "1,000,000,000"),
        (Decimal("-0.004"), "0", "0"),
    ],
)
def test_digits_are_grouped_as_in_india_or_in_thousands(value, indian, thousands):
    """The last three digits, then two by two; a zero has no sign."""
    assert grouped(value, indian=True) == indian
    assert grouped(value, indian=False) == thousands


def test_rupees_have_their_sign_and_places():
    """The minus stands before the sign; a signed gain has a plus."""
    assert rupees(Decimal(1000000), indian=True) == "₹10,00,000.00"
    assert rupees(Decimal("-1234.567"), indian=True) == "-₹1,234.57"
    assert rupees(Decimal(5), indian=True, signed=True) == "+₹5.00"
    assert rupees(Decimal(1000000), indian=False) == "1,000,000.00"


@pytest.mark.parametrize(
    ("value", "text"),
    [(99_999, "₹99,999"), (100_000, "₹1 lakh"), (-1_250_000, "-₹12.5 lakh"), (12_345_678, "₹1.23 crore")],
)
def test_large_amounts_are_in_lakh_and_crore(value, text):
    """For tiles and axes, where every digit would be too much."""
    assert short_rupees(value, indian=True) == text


@given(
    st.floats() | st.decimals(allow_nan=False) | st.decimals(-(10**20), 10**20),
    st.integers(0, 6),
    st.booleans(),
)
def test_any_number_has_a_text_with_the_same_digits(value, places, indian):
    """Groups change no digit, whatever is asked: also nan, inf and the largest float."""
    text = grouped(value, places, indian=indian)
    assert text
    assert short_rupees(value, indian=indian)
    if isfinite(value) and abs(value) < 10**20:
        exact = Decimal(text.replace(",", ""))
        assert abs(exact - Decimal(value)) <= Decimal("0.5000001") / 10**places
