"""The RPCs about protections: GetProtection, ListProtections, CancelProtection."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import grpc
from typing_extensions import override

from alphapanda.contract.wire import decimal, protection, timestamp
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.errors import FailedPrecondition, NotFound
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.storage.requests import CommandKey
from alphapanda.trading.core.protection_record import ProtectionState
from alphapanda.trading.execution_context import Instruments
from alphapanda.trading.protections import Protections
from alphapanda.trading.store.port import TradingStore
from alphapanda.trading.store.protection_port import ProtectionFilter, StoredProtection
from panda.common.v1 import common_pb2 as common
from panda.trading.v1 import protections_pb2 as messages
from panda.trading.v1.trading_pb2_grpc import TradingServiceServicer

DEFAULT_PAGE = 50

Context = grpc.aio.ServicerContext[Any, Any]


def _nothing() -> None:
    """Begins nothing."""


class ProtectionCommands:
    """Answers questions about protections, and ends them.

    Args:
        store: the protections.
        protections: carries them out.
        instruments: today's instruments.
    """

    def __init__(self, store: TradingStore, protections: Protections, instruments: Instruments) -> None:
        self._store = store
        self._protections = protections
        self._instruments = instruments

    async def get(self, request: messages.GetProtectionRequest) -> messages.GetProtectionResponse:
        """The protection of an order.

        Raises:
            NotFound: the order has none.
        """
        return messages.GetProtectionResponse(protection=self._message(await self._found(request.order_id)))

    async def list(
        self, request: messages.ListProtectionsRequest, instrument_id: str
    ) -> messages.ListProtectionsResponse:
        """A page of protections.

        Args:
            request: what they have to match.
            instrument_id: their instrument; empty: any.
        """
        wanted = ProtectionFilter(
            request.broker, request.account, request.strategy_id, instrument_id, not request.ended_too
        )
        before = decode_page_token(request.page_token, f"protections {wanted}", int)
        size = request.page_size or DEFAULT_PAGE
        found = await self._store.protections.newest(wanted, before[0] if before else None, size + 1)
        page = found[:size]
        more = len(found) > size
        return messages.ListProtectionsResponse(
            protections=[self._message(stored) for stored in page],
            next_page_token=encode_page_token((page[-1].sequence,), f"protections {wanted}") if more else "",
        )

    async def cancel(self, request: messages.CancelProtectionRequest) -> messages.CancelProtectionResponse:
        """Ends a protection; a repeated command ends nothing more.

        Raises:
            NotFound: the order has none.
            FailedPrecondition: it has ended.
            RequestReused: the request_id came with another body.
        """
        stored = await self._found(request.order_id)
        key = CommandKey(current_caller.get(), "CancelProtection", request.request_id)
        async with self._store.transaction() as transaction:
            begin: Callable[[], None] = _nothing
            if await transaction.claim(key, request) is None:
                if stored.record.state is ProtectionState.ENDED:
                    raise FailedPrecondition(
                        "PROTECTION_ENDED",
                        f"the protection of order {request.order_id} has ended: {stored.record.ended}",
                        order_id=request.order_id,
                    )
                begin = await self._protections.cancel(transaction, stored.record)
                await transaction.remember(key, request)
        begin()
        return messages.CancelProtectionResponse(
            protection=self._message(await self._found(request.order_id))
        )

    async def _found(self, order_id: str) -> StoredProtection:
        stored = await self._store.protections.find(order_id)
        if stored is None:
            raise NotFound("PROTECTION_UNKNOWN", f"order {order_id!r} has no protection", order_id=order_id)
        return stored

    def _message(self, stored: StoredProtection) -> messages.PositionProtection:
        record = stored.record
        instrument = self._instruments().by_id(record.key.instrument_id)
        reason = record.ended or record.guard.leaving
        return messages.PositionProtection(
            order_id=record.protection_id,
            broker=record.key.broker,
            account=record.key.account,
            strategy_id=record.key.strategy_id,
            instrument_id=record.key.instrument_id,
            symbol=instrument.symbol if instrument else record.key.instrument_id,
            product=common.Product.ValueType(record.key.product),
            side=common.Side.ValueType(record.guard.side),
            state=messages.ProtectionState.ValueType(record.state),
            wanted=protection(record.levels),
            stop_trigger=decimal(record.guard.stop_loss),
            entries=record.entries,
            stop_order_id=record.stop_order_id,
            exit_order_id=record.exit_order_id,
            reason=reason.value if reason else "",
            message=record.message,
            created_at=timestamp(stored.created_at),
        )


class ProtectionRpcs(TradingServiceServicer):
    """The part of TradingService that is about protections."""

    _protections: ProtectionCommands
    _instruments: Instruments

    @abstractmethod
    async def _check_filter(self, broker: str, account: str, strategy_id: str) -> str:
        """Refuses names of nothing known."""

    @override
    async def GetProtection(
        self, request: messages.GetProtectionRequest, context: Context
    ) -> messages.GetProtectionResponse:
        return await self._protections.get(request)

    @override
    async def ListProtections(
        self, request: messages.ListProtectionsRequest, context: Context
    ) -> messages.ListProtectionsResponse:
        instrument_id = ""
        if request.symbol:
            instrument_id = self._instruments().require_symbol(request.symbol, "symbol").instrument_id
        answer = await self._protections.list(request, instrument_id)
        if not answer.protections and not request.page_token:
            await self._check_filter(request.broker, request.account, request.strategy_id)
        return answer

    @override
    async def CancelProtection(
        self, request: messages.CancelProtectionRequest, context: Context
    ) -> messages.CancelProtectionResponse:
        return await self._protections.cancel(request)
