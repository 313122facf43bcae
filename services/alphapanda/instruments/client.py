"""Loads the instruments from InstrumentService; used by other services."""

from __future__ import annotations

from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.instruments.wire import instrument_from
from panda.instruments.v1 import instruments_pb2 as api
from panda.instruments.v1.instruments_pb2_grpc import InstrumentServiceStub

_PAGE = 1000


async def load_directory(stub: InstrumentServiceStub) -> InstrumentDirectory:
    """Loads every current instrument.

    Raises:
        grpc.aio.AioRpcError: the call failed.
    """
    instruments: list[Instrument] = []
    page_token = ""
    while True:
        page = await stub.ListInstruments(api.ListInstrumentsRequest(page_size=_PAGE, page_token=page_token))
        instruments += map(instrument_from, page.instruments)
        page_token = page.next_page_token
        if not page_token:
            return InstrumentDirectory(instruments)
