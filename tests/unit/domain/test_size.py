"""Sizes of a full position as people write them."""

from __future__ import annotations

import pytest

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.size import size_text, units_or_size


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("100", (100, "")),
        ("1,000", (1000, "")),
        ("50000INR", (0, "50000INR")),
        ("₹50,000", (0, "50000INR")),
        ("Rs. 50000.50", (0, "50000.5INR")),
        ("inr 1,00,000", (0, "100000INR")),
        ("10%", (0, "10%")),
        (" 2.5 % ", (0, "2.5%")),
        ("100%", (0, "100%")),
    ],
)
def test_units_rupees_and_percent_are_read(text: str, found: tuple[int, str]) -> None:
    """Units stay units, the others have one usual form, which reads as itself."""
    assert units_or_size(text, "quantity") == found
    if found[1]:
        assert size_text(found[1], "size") == found[1]


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "1.5", "0%", "0INR", "ten", "₹5%", "10%%", "2000%", "1e5", "₹50INR"]
)
def test_what_is_no_size_is_told(text: str) -> None:
    """The error names field and value, and says what is allowed."""
    with pytest.raises(InvalidInput, match=r"quantity: .* is not allowed; "):
        units_or_size(text, "quantity")
    with pytest.raises(InvalidInput, match=r"size: '100' is not allowed; rupees"):
        size_text("100", "size")
