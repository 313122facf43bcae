"""The search index finds what `search_rank` ranks, in its order, page by page."""

from __future__ import annotations

import random
from datetime import date

import pytest
from tests.values import replace

from alphapanda.domain.instrument import Instrument
from alphapanda.instruments.core import shipped_instruments
from alphapanda.instruments.index import SearchIndex
from alphapanda.instruments.search import search_key, search_rank

QUERIES = (
    "A",
    "AB",
    "NSE:A",
    "NSE",
    "N",
    "NS:",
    "B",
    " B",
    "A B",
    "AAB",
    ":",
    "NFO:AB",
    "ZZ",
    "%",
    "A\nA",
    "BA",
)


@pytest.fixture(scope="module")
def some() -> list[Instrument]:
    """Symbols and names of few letters, so that a query matches in every way; some are in small letters."""
    chosen = random.Random(11)
    model = next(iter(shipped_instruments(date(2026, 11, 30))))
    made = {}
    for _ in range(400):
        exchange = chosen.choice(("NSE", "BSE", "NFO"))
        symbol = "".join(chosen.choices("ABab", k=chosen.randint(1, 4)))
        name = " ".join("".join(chosen.choices("ABn", k=chosen.randint(1, 3))) for _ in range(2))
        key = f"{exchange}:{symbol}"
        made[key] = replace(model, instrument_id=key, exchange=exchange, tradingsymbol=symbol, name=name)
    return list(made.values())


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("exchange", ["", "NSE", "NFO", "MCX"])
def test_it_finds_what_the_rank_says(some, query: str, exchange: str) -> None:
    """All pages together are all matches in order, whatever the pages' sizes."""
    index = SearchIndex(some)
    ranked = [(search_rank(query, one), one) for one in some if exchange in ("", one.exchange)]
    expected = sorted(search_key(rank, one) for rank, one in ranked if rank is not None)
    for size in (1, 7, 1000):
        found, after = [], None
        while page := index.find(query, exchange, after, size):
            after = search_key(search_rank(query, page[-1]), page[-1])
            found += page
        assert [one.instrument_id for one in found] == [key[-1] for key in expected]
