"""Refusals that stay readable, whatever came and however much is known."""

from __future__ import annotations

from difflib import get_close_matches

import pytest

from alphapanda.domain.errors import InvalidInput, UnknownName

SYMBOLS = [f"NFO:NIFTY25{n}CE" for n in range(10_000, 99_999)]


def test_a_long_value_is_cut() -> None:
    """A refusal shows enough of a value to know it again."""
    assert (
        str(InvalidInput("symbol", "x" * 5000, "a symbol"))
        == f"symbol: '{'x' * 99}… is not allowed; a symbol"
    )


def test_of_very_many_names_some_are_listed() -> None:
    """A whole exchange isn't listed; how many more there are is said."""
    said = str(UnknownName("symbol", "NSE:NOBODY", SYMBOLS))
    assert len(said) < 1000
    assert said.endswith(f" and {len(SYMBOLS) - 30} more")


def test_few_names_are_listed_whole() -> None:
    """Whoever is told what is allowed can choose from it."""
    assert str(UnknownName("side", "BYE", ["SELL", "BUY"])).endswith("did you mean 'BUY'? allowed: BUY, SELL")


def test_the_nearest_of_very_many_is_found_without_comparing_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A typo among an exchange's symbols is answered from its neighbours: comparing all takes seconds."""
    compared = []
    monkeypatch.setattr(
        "alphapanda.domain.errors.get_close_matches",
        lambda value, names, n: compared.extend(names) or get_close_matches(value, names, n=n),
    )
    said = str(UnknownName("symbol", "NFO:NIFTY2554321CF", SYMBOLS))
    assert "did you mean 'NFO:NIFTY2554321CE'?" in said
    assert len(compared) <= 1000
