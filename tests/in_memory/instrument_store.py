"""The registry's store in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from typing_extensions import override

from alphapanda.domain.instrument import Instrument
from alphapanda.instruments.search import SearchKey, search_key, search_rank
from alphapanda.instruments.store.port import (
    LENGTH_SLACK,
    MAX_SUGGESTED,
    InstrumentFilter,
    InstrumentStore,
    SortKey,
    TokenAssignment,
    sort_key,
)


class MemoryInstrumentStore(InstrumentStore):
    """Keeps them in dictionaries; they are gone with the process."""

    def __init__(self) -> None:
        self._instruments: dict[str, Instrument] = {}
        self._assignments: list[TokenAssignment] = []
        self._revisions: dict[str, int] = {}

    @override
    async def upsert(self, instruments: Sequence[Instrument], day: date) -> None:
        before = {i.instrument_id: i for i in self._listed()}
        tokens = {i.instrument_id: i.instrument_token for i in instruments}
        owners = {i.instrument_token: i.instrument_id for i in instruments}
        kept: list[TokenAssignment] = []
        for held in self._assignments:
            lost = held.until_day is None and (
                tokens.get(held.instrument_id, held.instrument_token) != held.instrument_token
                or owners.get(held.instrument_token, held.instrument_id) != held.instrument_id
            )
            kept.append(
                TokenAssignment(
                    held.instrument_id, held.instrument_token, held.from_day, max(held.from_day, day)
                )
                if lost
                else held
            )
        still = {held.instrument_id for held in kept if held.until_day is None}
        self._assignments = kept + [
            TokenAssignment(i.instrument_id, i.instrument_token, day, None)
            for i in instruments
            if i.instrument_id not in still
        ]
        self._instruments |= {i.instrument_id: i for i in instruments}
        revision = await self.revision() + 1
        self._revisions |= {
            i.instrument_id: revision for i in self._listed() if before.get(i.instrument_id) != i
        }

    @override
    async def by_id(self, instrument_id: str) -> Instrument | None:
        return next((i for i in self._current() if i.instrument_id == instrument_id), None)

    @override
    async def by_token(self, instrument_token: int) -> Instrument | None:
        return next((i for i in self._current() if i.instrument_token == instrument_token), None)

    @override
    async def by_symbol(self, exchange: str, tradingsymbol: str) -> Instrument | None:
        found = [i for i in self._current() if (i.exchange, i.tradingsymbol) == (exchange, tradingsymbol)]
        return max(found, key=lambda i: (i.expiry or date.max, i.instrument_id), default=None)

    @override
    async def page(self, wanted: InstrumentFilter, after: SortKey | None, limit: int) -> Sequence[Instrument]:
        found = [
            i
            for i in (self._listed() if wanted.changed_after else self._current())
            if self._revisions[i.instrument_id] > wanted.changed_after
            and wanted.exchange in {"", i.exchange}
            and (
                i.tradingsymbol.startswith(wanted.symbol_prefix) or i.symbol.startswith(wanted.symbol_prefix)
            )
            and (after is None or sort_key(i) > after)
        ]
        return sorted(found, key=sort_key)[:limit]

    @override
    async def revision(self) -> int:
        return max(self._revisions.values(), default=0)

    @override
    async def search(
        self, query: str, exchange: str, after: SearchKey | None, limit: int
    ) -> Sequence[Instrument]:
        found = [
            (search_key(rank, i), i)
            for i in self._current()
            if exchange in {"", i.exchange} and (rank := search_rank(query, i)) is not None
        ]
        return [i for key, i in sorted(found, key=lambda each: each[0]) if after is None or key > after][
            :limit
        ]

    @override
    async def prepare_search(self) -> None:
        """Does nothing: a search looks at all of them."""

    @override
    async def symbols_like(self, exchange: str, tradingsymbol: str) -> Sequence[str]:
        near = [
            i.symbol
            for i in sorted(self._current(), key=sort_key)
            if i.exchange == exchange and abs(len(i.tradingsymbol) - len(tradingsymbol)) <= LENGTH_SLACK
        ]
        return near[:MAX_SUGGESTED]

    @override
    async def token_history(self, instrument_token: int) -> Sequence[TokenAssignment]:
        return [held for held in self._assignments if held.instrument_token == instrument_token]

    def _listed(self) -> list[Instrument]:
        """All of them, those that have lost their tokens with token 0."""
        held = {one.instrument_id for one in self._assignments if one.until_day is None}
        return [
            i if i.instrument_id in held else replace(i, instrument_token=0)
            for i in self._instruments.values()
        ]

    def _current(self) -> list[Instrument]:
        return [self._instruments[held.instrument_id] for held in self._assignments if held.until_day is None]
