"""Loads the instruments from InstrumentService, and follows their changes; used by other services."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple

import grpc
import structlog

from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.instruments.wire import instrument_from
from alphapanda.resilience.tasks import kept_running
from panda.instruments.v1 import instruments_pb2 as api
from panda.instruments.v1.instruments_pb2_grpc import InstrumentServiceStub

LOOK_EVERY_SECONDS: Final = 2.0
_PAGE: Final = 1000
_log: Final = structlog.get_logger(__name__)


class Listed(NamedTuple):
    """Instruments, and the registry's revision after which to ask for changes."""

    instruments: list[Instrument]
    revision: int


async def list_instruments(stub: InstrumentServiceStub, changed_after: int = 0) -> Listed:
    """Lists all instruments, or those that have changed after a revision.

    Raises:
        grpc.aio.AioRpcError: a call failed.
    """
    instruments: list[Instrument] = []
    revision, page_token = 0, ""
    while True:
        page = await stub.ListInstruments(
            api.ListInstrumentsRequest(
                page_size=_PAGE, page_token=page_token, changed_after_revision=changed_after
            )
        )
        revision = revision or page.revision
        instruments += map(instrument_from, page.instruments)
        page_token = page.next_page_token
        if not page_token:
            return Listed(instruments, revision)


class DirectoryFollower:
    """Keeps a directory as the registry is, while the process runs.

    Args:
        directory: all instruments as of `revision`.
        revision: the registry's.
        connect: opens a channel to InstrumentService.
        seconds: how often changes are asked for.
    """

    def __init__(
        self,
        directory: InstrumentDirectory,
        revision: int,
        connect: Callable[[], AbstractAsyncContextManager[grpc.aio.Channel]],
        seconds: float = LOOK_EVERY_SECONDS,
    ) -> None:
        self._directory = directory
        self._revision = revision
        self._connect = connect
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to follow."""
        self._task = kept_running(self._follow, "instruments.follow", _log)

    async def stop(self) -> None:
        """Follows no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _follow(self) -> None:
        async with self._connect() as channel:
            stub = InstrumentServiceStub(channel)
            while True:
                await asyncio.sleep(self._seconds)
                # An empty registry has revision 0, after which all have changed.
                listed = await list_instruments(stub, self._revision)
                if listed.revision != self._revision:
                    self._take(listed)

    def _take(self, listed: Listed) -> None:
        for one in listed.instruments:
            before = self._directory.by_id(one.instrument_id)
            if before is not None and before.instrument_token != one.instrument_token:
                _log.warning(
                    "instruments.token_changed",
                    instrument_id=one.instrument_id,
                    before=before.instrument_token,
                    now=one.instrument_token,
                    message="strategies that watch it get ticks under its new token from their next start on",
                )
        self._directory.take(listed.instruments)
        _log.info("instruments.followed", instruments=len(listed.instruments), revision=listed.revision)
        self._revision = listed.revision
