"""InstrumentService: gets, lists, searches, imports and adds instruments."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Final, cast

import grpc
from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument, UnknownInstrument
from alphapanda.instruments.commands import InstrumentCommands
from alphapanda.instruments.core import shipped_symbol_changes
from alphapanda.instruments.search import SearchKey, normalised, search_key, search_rank
from alphapanda.instruments.store.port import InstrumentFilter, InstrumentStore, SortKey, sort_key
from alphapanda.instruments.wire import instrument_message
from alphapanda.mesh.errors import NotFound
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from panda.instruments.v1 import instruments_pb2 as api
from panda.instruments.v1 import instruments_pb2_grpc

DEFAULT_PAGE: Final = 100
DEFAULT_FOUND: Final = 20
INSTRUMENT_NOT_FOUND: Final = "INSTRUMENT_NOT_FOUND"

Context = grpc.aio.ServicerContext[Any, Any]


class InstrumentServicer(instruments_pb2_grpc.InstrumentServiceServicer):
    """Implements InstrumentService.

    Args:
        store: answers questions.
        commands: imports and adds.
    """

    def __init__(self, store: InstrumentStore, commands: InstrumentCommands) -> None:
        self._store = store
        self._commands = commands
        self._changes = {change.old: change for change in shipped_symbol_changes()}

    @override
    async def GetInstrument(
        self, request: api.GetInstrumentRequest, context: Context
    ) -> api.GetInstrumentResponse:
        """Returns one instrument.

        Raises:
            NotFound: there is no such instrument.
        """
        match request.WhichOneof("by"):
            case "symbol":
                found = await self._by_symbol(request.symbol)
            case "instrument_id":
                found = _found(
                    await self._store.by_id(request.instrument_id), "instrument_id", request.instrument_id
                )
            case "instrument_token":
                token = request.instrument_token
                found = _found(await self._store.by_token(token), "instrument_token", str(token))
            case _:
                raise InvalidInput("by", "", "one of symbol, instrument_id, instrument_token")
        return api.GetInstrumentResponse(instrument=instrument_message(found))

    @override
    async def ListInstruments(
        self, request: api.ListInstrumentsRequest, context: Context
    ) -> api.ListInstrumentsResponse:
        """Lists instruments by page.

        Raises:
            InvalidInput: the page_token is of a different request.
        """
        wanted = InstrumentFilter(request.exchange, request.symbol_prefix, request.changed_after_revision)
        filters = f"{wanted.exchange}\x1f{wanted.symbol_prefix}"
        if wanted.changed_after:
            filters += f"\x1f{wanted.changed_after}"
        after = decode_page_token(request.page_token, filters, str, str, str)
        size = request.page_size or DEFAULT_PAGE
        revision = await self._store.revision()  # before the page: what changes in between is told again
        found = await self._store.page(wanted, cast("SortKey", tuple(after)) if after else None, size + 1)
        page = found[:size]
        return api.ListInstrumentsResponse(
            instruments=[instrument_message(instrument) for instrument in page],
            next_page_token=encode_page_token(sort_key(page[-1]), filters) if len(found) > size else "",
            revision=revision,
        )

    @override
    async def SearchInstruments(
        self, request: api.SearchInstrumentsRequest, context: Context
    ) -> api.SearchInstrumentsResponse:
        """Lists instruments that match a query, best first, by page.

        Raises:
            InvalidInput: the page_token is of a different request.
        """
        query = normalised(request.query)
        filters = f"search\x1f{request.exchange}\x1f{query}"
        after = decode_page_token(request.page_token, filters, int, str, str, str)
        size = request.page_size or DEFAULT_FOUND
        found = await self._store.search(
            query, request.exchange, cast("SearchKey", tuple(after)) if after else None, size + 1
        )
        page = found[:size]
        token = ""
        if len(found) > size and (rank := search_rank(query, page[-1])) is not None:
            token = encode_page_token(search_key(rank, page[-1]), filters)
        return api.SearchInstrumentsResponse(
            instruments=[instrument_message(instrument) for instrument in page], next_page_token=token
        )

    @override
    async def ImportInstruments(
        self, request: api.ImportInstrumentsRequest, context: Context
    ) -> api.ImportInstrumentsResponse:
        """Imports a list of instruments."""
        return await self._commands.import_list(request)

    @override
    async def AddInstrument(
        self, request: api.AddInstrumentRequest, context: Context
    ) -> api.AddInstrumentResponse:
        """Adds an instrument."""
        return await self._commands.add(request)

    async def _by_symbol(self, symbol: str) -> Instrument:
        exchange, _, tradingsymbol = symbol.partition(":")
        found = await self._store.by_symbol(exchange, tradingsymbol)
        if found is None:
            near = get_close_matches(symbol, await self._store.symbols_like(exchange, tradingsymbol), n=3)
            hint = UnknownInstrument("symbol", symbol, near, self._changes.get(symbol)).hint
            raise NotFound(
                INSTRUMENT_NOT_FOUND, f"no instrument has the symbol {symbol!r}; {hint}", symbol=symbol
            )
        return found


def _found(instrument: Instrument | None, by: str, value: str) -> Instrument:
    if instrument is None:
        raise NotFound(INSTRUMENT_NOT_FOUND, f"no instrument has the {by} {value!r} today", **{by: value})
    return instrument
