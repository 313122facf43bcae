from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date

import pytest

from alphapanda.instruments.core import shipped_instruments
from alphapanda.instruments.loader import load_shipped_instruments
from alphapanda.instruments.store import (
    InstrumentFilter,
    InstrumentStore,
    MemoryInstrumentStore,
    PostgresInstrumentStore,
    directory_of,
    sort_key,
)
from alphapanda.storage.engine import open_engine
from alphapanda.storage.schema import upgrade_schema

DAY = date(2026, 11, 23)


@pytest.fixture(params=["postgres", "memory"])
async def store(request, database) -> AsyncIterator[InstrumentStore]:
    if request.param == "memory":
        yield MemoryInstrumentStore()
        return
    engine = open_engine(database, 5)
    await upgrade_schema(engine)
    yield PostgresInstrumentStore(engine)
    await engine.dispose()


async def test_what_was_stored_is_found_by_id_token_and_symbol(store):
    """The three ways lead to the same instrument, exactly as it was stored; the dump once more changes nothing."""
    await load_shipped_instruments(store, DAY)
    count = await load_shipped_instruments(store, DAY)
    for instrument in shipped_instruments(DAY):
        assert await store.by_id(instrument.instrument_id) == instrument
        assert await store.by_token(instrument.instrument_token) == instrument
        assert await store.by_symbol(instrument.exchange, instrument.tradingsymbol) == instrument
    assert len(await directory_of(store)) == count == 25
    assert await store.by_token(1) is None


async def test_pages_are_in_order_and_complete(store):
    """Every instrument is on one page, in the order of exchange and symbol; a prefix narrows them."""
    await load_shipped_instruments(store, DAY)
    found, after = [], None
    while page := await store.page(InstrumentFilter(), after, 7):
        found += page
        after = sort_key(page[-1])
    assert [sort_key(one) for one in found] == sorted(sort_key(one) for one in shipped_instruments(DAY))
    only = await store.page(InstrumentFilter(symbol_prefix="INF"), None, 100)
    assert [one.symbol for one in only] == ["NSE:INFY"]


async def test_a_token_that_changes_hands_belongs_to_the_new_instrument_from_that_day(store):
    """Tokens are reused after expiry; the id is not, and the history says whom a token belonged to."""
    infy = next(one for one in shipped_instruments(DAY) if one.tradingsymbol == "INFY")
    old = replace(infy, instrument_id="NFO:OLD@2026-10-27", tradingsymbol="OLD", exchange="NFO")
    await store.upsert([old], date(2026, 10, 1))
    await store.upsert([infy], DAY)
    found = await store.by_token(infy.instrument_token)
    assert found is not None
    assert found.instrument_id == infy.instrument_id
    history = await store.token_history(infy.instrument_token)
    assert [(one.instrument_id, one.from_day, one.until_day) for one in history] == [
        (old.instrument_id, date(2026, 10, 1), DAY),
        (infy.instrument_id, DAY, None),
    ]
    assert await store.by_id(old.instrument_id) is None
