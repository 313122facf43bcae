"""Commands on the registry: imports and additions, each once by its request_id."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Final, TypeVar

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.contract.wire import exact
from alphapanda.domain.errors import InvalidInput
from alphapanda.instruments.core import shipped_facts, shipped_instruments
from alphapanda.instruments.dump import parse_instruments, text_of
from alphapanda.instruments.importing import MOST_RUPEES, Wanted, add_instrument, import_read
from alphapanda.instruments.registry import InstrumentRegistry
from alphapanda.instruments.wire import instrument_message
from alphapanda.mesh.caller import current_caller
from alphapanda.storage.requests import CommandKey, RequestMemory
from panda.instruments.v1 import instruments_pb2 as api

LARGEST_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of a file that comes by RPC, unpacked."""
SHOWN_REFUSALS: Final = 5
Answer = TypeVar("Answer", bound=Message)


class InstrumentCommands:
    """Executes commands, one at a time: the registry is one file.

    A command is claimed by its request_id, has its effect, and its answer is remembered. Each effect is one transaction of the
    registry, and the same again changes nothing; so a command that was cut off before its answer was remembered is executed
    again.

    Args:
        registry: a registry of its own on the file; nobody else reads it by this object.
        engine: the service's database.
        today: returns the current day in India.
        changed: called after each effect; brings it into the service's database.
    """

    def __init__(
        self,
        registry: InstrumentRegistry,
        engine: AsyncEngine,
        today: Callable[[], date],
        changed: Callable[[], Awaitable[object]],
    ) -> None:
        self._registry = registry
        self._engine = engine
        self._today = today
        self._changed = changed
        self._requests = RequestMemory("instruments")
        self._one_at_a_time = asyncio.Lock()

    async def import_list(self, request: api.ImportInstrumentsRequest) -> api.ImportInstrumentsResponse:
        """Imports a list.

        Raises:
            InvalidInput: too little of it can be used; nothing was imported.
            RequestReused: the request_id came with another body.
        """
        return await self._once("ImportInstruments", request, api.ImportInstrumentsResponse, self._import)

    async def add(self, request: api.AddInstrumentRequest) -> api.AddInstrumentResponse:
        """Adds an instrument.

        Raises:
            InvalidInput: a value isn't allowed.
            RequestReused: the request_id came with another body.
        """
        return await self._once("AddInstrument", request, api.AddInstrumentResponse, self._add)

    async def _once(
        self, method: str, request: Message, answer_type: type[Answer], execute: Callable[[Message], Answer]
    ) -> Answer:
        key = CommandKey(current_caller.get(), method, getattr(request, "request_id"))  # noqa: B009 - every command has one
        async with self._one_at_a_time:
            async with self._engine.begin() as connection:
                known = await self._requests.claim(connection, key, request)
            if known:
                return answer_type.FromString(known)
            answer = await asyncio.to_thread(execute, request)
            async with self._engine.begin() as connection:
                await self._requests.remember(connection, key, answer)
        await self._changed()
        return answer

    def _import(self, request: Message) -> api.ImportInstrumentsResponse:
        assert isinstance(request, api.ImportInstrumentsRequest)  # noqa: S101 - for the type checker
        name = Path(request.file_name or "instruments").name or "instruments"
        day = _day("day", request.day) or self._today()
        found = parse_instruments(name, text_of(name, request.content, LARGEST_BYTES), day, shipped_facts())
        imported = import_read(
            self._registry,
            shipped_instruments(day),
            found,
            Path(name),
            day,
            allow_refusals=request.allow_refusals,
        )
        merge = imported.merge
        return api.ImportInstrumentsResponse(
            form=found.form,
            added=merge.added,
            changed=merge.changed,
            ended=merge.ended,
            unchanged=merge.unchanged,
            refused=len(found.refused),
            first_refusals=[str(refusal) for refusal in found.refused[:SHOWN_REFUSALS]],
        )

    def _add(self, request: Message) -> api.AddInstrumentResponse:
        assert isinstance(request, api.AddInstrumentRequest)  # noqa: S101 - for the type checker
        wanted = Wanted(
            request.symbol,
            request.name or None,
            request.lot_size or None,
            exact(request.tick_size) if request.HasField("tick_size") else None,
            _day("expiry", request.expiry),
            request.index,
        )
        if wanted.tick_size is not None and not 0 < wanted.tick_size <= MOST_RUPEES:
            raise InvalidInput("tick_size", wanted.tick_size, f"rupees above 0 and at most {MOST_RUPEES:,}")
        day = self._today()
        made = add_instrument(self._registry, shipped_instruments(day), wanted, day, shipped_facts())
        return api.AddInstrumentResponse(instrument=instrument_message(made))


def _day(field: str, text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidInput(field, text, "a day as YYYY-MM-DD") from None
