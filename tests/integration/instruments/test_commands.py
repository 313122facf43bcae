"""ImportInstruments and AddInstrument: each has one effect, and what they change is found at once."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal

import pytest

from alphapanda.domain.errors import InvalidInput
from alphapanda.instruments import commands as limits
from alphapanda.instruments.api import InstrumentServicer
from alphapanda.instruments.commands import InstrumentCommands
from alphapanda.instruments.registry import InstrumentRegistry
from alphapanda.instruments.store.postgres import PostgresInstrumentStore
from alphapanda.instruments.syncing import RegistrySync
from alphapanda.storage.engine import open_engine
from alphapanda.storage.requests import RequestReused
from panda.instruments.v1 import instruments_pb2 as api

DAY = date(2026, 11, 30)
DUMP = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,"
    "instrument_type,segment,exchange\n"
    "25857,101,TINY,TINY TOYS,0,,0,0.01,1,EQ,NSE,NSE\n"
    "9000194,35157,TINY26DECFUT,TINY,0,2026-12-29,0,0.05,700,FUT,NFO-FUT,NFO\n"
)


@pytest.fixture
async def service(tables, tmp_path) -> AsyncIterator[InstrumentServicer]:
    """The service on a registry of its own."""
    engine = open_engine(tables, 5)
    store = PostgresInstrumentStore(engine)
    file = tmp_path / "instruments.sqlite"
    sync = RegistrySync(InstrumentRegistry(file), store, lambda: DAY, waits=True)
    yield InstrumentServicer(
        store, InstrumentCommands(InstrumentRegistry(file), engine, lambda: DAY, sync.sync)
    )
    await engine.dispose()


def packed(text: str = DUMP, request_id: str = "one", **fields: object) -> api.ImportInstrumentsRequest:
    return api.ImportInstrumentsRequest(
        request_id=request_id, content=gzip.compress(text.encode(), mtime=0), **fields
    )


async def found(service: InstrumentServicer, symbol: str) -> api.Instrument:
    answer = await service.GetInstrument(api.GetInstrumentRequest(symbol=symbol), None)
    return answer.instrument


async def test_an_import_has_one_effect_and_one_answer(service) -> None:
    """Sent twice, also at once, it is counted once; another body under its request_id is refused."""
    answers = await asyncio.gather(*(service.ImportInstruments(packed(), None) for _ in range(3)))
    assert {(one.added, one.unchanged, one.form) for one in answers} == {(2, 0, "Kite's instruments dump")}
    assert (await found(service, "NSE:TINY")).instrument_token == 25857
    assert (await found(service, "NFO:TINY26DECFUT")).expiry == "2026-12-29"
    with pytest.raises(RequestReused):
        await service.ImportInstruments(packed(allow_refusals=True), None)
    again = await service.ImportInstruments(packed(request_id="two"), None)
    assert (again.added, again.unchanged) == (0, 2)


async def test_an_instrument_is_added_and_changed(service) -> None:
    """What the request leaves out stays as it was."""
    request = api.AddInstrumentRequest(request_id="one", symbol="NSE:NEWCO", lot_size=5)
    request.tick_size.value = "0.05"
    for _ in range(2):
        made = (await service.AddInstrument(request, None)).instrument
        assert (made.instrument_id, made.lot_size, made.tick_size.value) == ("NSE:NEWCO", 5, "0.05")
    named = api.AddInstrumentRequest(request_id="two", symbol="NSE:NEWCO", name="New Company")
    await service.AddInstrument(named, None)
    shown = await found(service, "NSE:NEWCO")
    assert (shown.name, shown.lot_size, Decimal(shown.tick_size.value)) == ("New Company", 5, Decimal("0.05"))


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (packed("a,b\n1,2\n"), "instruments, header"),
        (packed(day="2026-13-01"), "day"),
        (packed(DUMP + "x,1,BAD,B,0,,0,0.01,1,EQ,NSE,NSE\n", file_name="dump.csv"), "1 % of rows"),
        (api.ImportInstrumentsRequest(request_id="one", content=b"\x1f\x8bno"), "readable file"),
        (api.AddInstrumentRequest(request_id="one", symbol="NFO:NEWCO26DECFUT"), "expiry"),
        (
            api.AddInstrumentRequest(request_id="one", symbol="NSE:NEWCO", tick_size={"value": "0"}),
            "tick_size",
        ),
        (
            api.AddInstrumentRequest(request_id="one", symbol="NSE:NEWCO", tick_size={"value": "1000000"}),
            "tick_size",
        ),
        (api.AddInstrumentRequest(request_id="one", symbol="NSE:NEWCO", expiry="2026-02-30"), "expiry"),
    ],
)
async def test_what_can_not_be_used_changes_nothing(service, request_, named: str) -> None:
    """It is refused by name, value and what is allowed, and may be sent again, mended, under the same request_id or another."""
    method = (
        service.ImportInstruments
        if isinstance(request_, api.ImportInstrumentsRequest)
        else service.AddInstrument
    )
    for _ in range(2):
        with pytest.raises(InvalidInput, match=named):
            await method(request_, None)
    assert (await service.ImportInstruments(packed(request_id="later"), None)).added == 2


async def test_a_file_that_unpacks_beyond_the_bound_is_refused(service, monkeypatch) -> None:
    """However small it is packed."""
    monkeypatch.setattr(limits, "LARGEST_BYTES", 1_000)
    with pytest.raises(InvalidInput, match="at most 1,000 bytes"):
        await service.ImportInstruments(packed(DUMP + " " * 100_000), None)
