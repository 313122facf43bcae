from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from functools import partial

import grpc
import pytest
from tests.in_memory.instrument_store import MemoryInstrumentStore
from tests.values import replace

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.instruments.api import InstrumentServicer
from alphapanda.instruments.client import DirectoryFollower, list_instruments
from alphapanda.instruments.core import DatedFacts, shipped_instruments
from alphapanda.instruments.directory import RegisteredDirectory
from alphapanda.instruments.importing import Wanted, add_instrument
from alphapanda.instruments.loader import load_shipped_instruments
from alphapanda.instruments.registry import InstrumentRegistry
from alphapanda.instruments.search import search_key, search_rank
from alphapanda.instruments.store.port import InstrumentFilter, InstrumentStore, directory_of, sort_key
from alphapanda.instruments.store.postgres import PostgresInstrumentStore
from alphapanda.instruments.syncing import RegistrySync, recover
from alphapanda.storage.engine import open_engine
from panda.instruments.v1 import instruments_pb2 as api
from panda.instruments.v1.instruments_pb2_grpc import (
    InstrumentServiceStub,
    add_InstrumentServiceServicer_to_server,
)

DAY = date(2026, 11, 23)


@pytest.fixture(params=["postgres", "memory"])
async def store(request, tables) -> AsyncIterator[InstrumentStore]:
    if request.param == "memory":
        yield MemoryInstrumentStore()
        return
    engine = open_engine(tables, 5)
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


async def test_what_changed_after_a_revision_is_listed_with_what_lost_its_token(store):
    """New, changed and ended instruments, each once; the same dump again is no change, and nothing changed is no page."""
    await load_shipped_instruments(store, DAY)
    first = await store.revision()
    await load_shipped_instruments(store, DAY)
    assert await store.revision() == first
    infy, tcs = (
        next(one for one in shipped_instruments(DAY) if one.tradingsymbol == name) for name in ("INFY", "TCS")
    )
    heir = replace(infy, instrument_id="NSE:HEIR", tradingsymbol="HEIR")
    await store.upsert([heir, replace(tcs, lot_size=7)], DAY)
    changed = await store.page(InstrumentFilter(changed_after=first), None, 100)
    assert [(one.symbol, one.instrument_token, one.lot_size) for one in changed] == [
        ("NSE:HEIR", infy.instrument_token, 1),
        ("NSE:INFY", 0, 1),
        ("NSE:TCS", tcs.instrument_token, 7),
    ]
    directory = shipped_instruments(DAY)
    directory.take(changed)
    assert directory.by_id("NSE:INFY") is directory.by_symbol("NSE:INFY") is None
    assert directory.by_token(infy.instrument_token) == directory.by_symbol("NSE:HEIR") == heir
    assert directory.by_id("NSE:TCS").lot_size == 7
    assert {one.symbol for one in directory} == {one.symbol for one in await directory_of(store)}
    assert not await store.page(InstrumentFilter(changed_after=await store.revision()), None, 100)


async def test_a_service_elsewhere_follows_what_changes(store):
    """New, changed and ended instruments are known there soon, without a restart."""
    await load_shipped_instruments(store, DAY)
    server = grpc.aio.server()
    add_InstrumentServiceServicer_to_server(InstrumentServicer(store, commands=None), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    connect = partial(grpc.aio.insecure_channel, f"127.0.0.1:{port}")
    async with connect() as channel:
        listed = await list_instruments(InstrumentServiceStub(channel))
    directory = InstrumentDirectory(listed.instruments)
    follower = DirectoryFollower(directory, listed.revision, connect, seconds=0.01)
    follower.start()
    infy = directory.by_symbol("NSE:INFY")
    await store.upsert([replace(infy, instrument_id="NSE:HEIR", tradingsymbol="HEIR", lot_size=3)], DAY)
    async with asyncio.timeout(20):
        while directory.by_symbol("NSE:HEIR") is None:  # noqa: ASYNC110 - the directory tells nobody
            await asyncio.sleep(0.01)
    assert directory.by_token(infy.instrument_token).lot_size == 3
    assert directory.by_id(infy.instrument_id) is None
    await follower.stop()
    await server.stop(None)


async def test_a_search_ranks_the_same_in_every_store_and_pages_lose_nothing(store):
    """The symbol itself first, then what begins so, then what holds it; a page goes on where the last one ended."""
    await load_shipped_instruments(store, DAY)
    known = shipped_instruments(DAY)
    for query in ("INFY", "NSE:INFY", "BANK", "IN", "A", "STATE BANK", "NOTHING LIKE IT", "%", "_"):
        ranked = [(search_rank(query, one), one) for one in known]
        expected = sorted(
            (search_key(rank, one) for rank, one in ranked if rank is not None),
        )
        found, after = [], None
        while page := await store.search(query, "", after, 3):
            found += page
            after = search_key(search_rank(query, page[-1]), page[-1])
        assert [search_key(search_rank(query, one), one) for one in found] == expected
    assert (await store.search("INFY", "", None, 1))[0].symbol == "NSE:INFY"
    assert not await store.search("INFY", "BSE", None, 10)


async def test_search_instruments_answers_by_symbol_and_by_name_in_pages(store):
    """Case and spaces around the query don't count; a token of another query is refused by name."""
    await load_shipped_instruments(store, DAY)
    servicer = InstrumentServicer(store, commands=None)

    async def search(query: str, **fields: object) -> api.SearchInstrumentsResponse:
        return await servicer.SearchInstruments(api.SearchInstrumentsRequest(query=query, **fields), None)

    assert (await search(" infy ")).instruments[0].tradingsymbol == "INFY"
    whole = [one.instrument_id for one in (await search("bank", page_size=100)).instruments]
    assert len(whole) > 2
    first = await search("BANK", page_size=2)
    rest = await search("bank", page_size=100, page_token=first.next_page_token)
    assert [one.instrument_id for one in (*first.instruments, *rest.instruments)] == whole
    assert not rest.next_page_token
    with pytest.raises(InvalidInput, match="page_token"):
        await search("in", page_token=first.next_page_token)


async def test_an_import_reaches_the_database_while_the_service_runs(store, tmp_path):
    """What was imported before the start is there when it has started, what is imported later within a moment."""
    registry = InstrumentRegistry(tmp_path / "instruments.sqlite")
    shipped = list(shipped_instruments(DAY))
    await store.upsert(shipped, DAY)
    add_instrument(registry, shipped, Wanted("NSE:BEFORE"), DAY, DatedFacts())
    directory = RegisteredDirectory(shipped, InstrumentRegistry(registry.file))
    assert directory.by_symbol("NSE:BEFORE").lot_size == 1
    sync = RegistrySync(
        InstrumentRegistry(registry.file),
        store,
        lambda: DAY,
        waits=True,
        changed=directory.take,
        seconds=0.01,
    )
    await sync.start()
    assert (await store.by_symbol("NSE", "BEFORE")).instrument_token == 510
    add_instrument(registry, shipped, Wanted("NSE:LATER", name="LATE INDUSTRIES"), DAY, DatedFacts())

    async with asyncio.timeout(20):
        while await store.by_symbol("NSE", "LATER") is None:  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.01)
    assert [one.symbol for one in await store.search("LATE IND", "", None, 5)] == ["NSE:LATER"]
    add_instrument(registry, shipped, Wanted("NSE:BEFORE", lot_size=25), DAY, DatedFacts())
    async with asyncio.timeout(20):
        while directory.by_symbol("NSE:BEFORE").lot_size == 1:  # noqa: ASYNC110 - the directory tells nobody
            await asyncio.sleep(0.01)
    await sync.stop()


async def test_a_lost_registry_is_made_anew_from_the_database(store, tmp_path):
    """With the tokens that the instruments had, so that the next one of our own gets another; a file that is there stays."""
    shipped = list(shipped_instruments(DAY))
    registry = InstrumentRegistry(tmp_path / "instruments.sqlite")
    await store.upsert(shipped, DAY)
    assert await recover(registry, store, shipped) == 0
    assert not registry.file.exists()
    mine = add_instrument(registry, shipped, Wanted("NSE:MINE"), DAY, DatedFacts())
    await store.upsert([mine], DAY)
    registry.file.unlink()
    again = InstrumentRegistry(registry.file)
    assert await recover(again, store, shipped) == 1
    assert again.by_id("NSE:MINE") == mine
    assert await recover(again, store, shipped) == 0
    assert add_instrument(again, shipped, Wanted("NSE:NEXT"), DAY, DatedFacts()).instrument_token == 766
