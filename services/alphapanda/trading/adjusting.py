"""Stores changes of positions that no trade explains, all of a command or none, once."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from alphapanda.contract.wire import exact
from alphapanda.domain import ids
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.order import Product
from alphapanda.domain.order_events import AdjustmentKind
from alphapanda.domain.signal import PositionKey
from alphapanda.mesh.errors import FailedPrecondition
from alphapanda.trading.core.adjusting import Move, adjusted, adjusted_id, legs
from alphapanda.trading.execution_context import ExecutionContext
from alphapanda.trading.store.port import PositionFilter
from panda.trading.v1 import trading_pb2 as trading

_log = structlog.get_logger(__name__)


async def adjust_positions(
    context: ExecutionContext, request: trading.AdjustPositionsRequest
) -> Sequence[str]:
    """Stores the changes; returns the ids of their orders. A command that was carried out before changes nothing.

    Raises:
        UnknownName: the broker isn't active.
        InvalidInput: the instrument isn't known, or a price isn't positive.
        FailedPrecondition: POSITION_CHANGED: trading holds something else than the command says.
    """
    if request.broker not in context.traders:
        raise UnknownName("broker", request.broker, context.traders)
    instrument = context.instruments().by_id(request.instrument_id)
    if instrument is None:
        raise InvalidInput("instrument_id", request.instrument_id, "an instrument of today's list")
    kind, moves = AdjustmentKind(request.kind), [_move(request, one) for one in request.adjustments]
    command_id = ids.derived_id("adjust positions", request.broker, request.account, request.subject_id)
    sides = legs(kind, moves)
    order_ids = [adjusted_id(command_id, leg) for leg in sides]
    if len(await context.store.find_all(order_ids)) == len(order_ids):
        return order_ids
    at = await context.market_time() or context.wall_clock()
    async with context.store.transaction() as transaction:
        exposures = await transaction.exposures(
            PositionFilter("", request.instrument_id, request.broker, request.account)
        )
        held = {one.key: one.held for one in exposures}
        for move in moves:
            if held.get(move.key, 0) != move.held:
                raise FailedPrecondition(
                    "POSITION_CHANGED",
                    f"trading holds {held.get(move.key, 0)} of {move.key.instrument_id} {move.key.product.name} for"
                    f" {move.key.strategy_id}, portfolio {move.held}: a fill is on its way; ask again in a moment",
                )
        changes = []
        for leg in sides:
            before = held.get(leg.key, 0)
            order, updates = adjusted(
                command_id, leg, before, instrument.instrument_token, request.reason, at
            )
            held[leg.key] = before + leg.units
            changes.append(context.change(order, updates))
        stored = await transaction.add(changes)
        if stored and len(stored) < len(changes):
            raise FailedPrecondition(
                "POSITION_CHANGED", "a part of this is stored already: ask again in a moment"
            )
    for leg, order_id in zip(sides, order_ids, strict=True):
        _log.warning(
            "order.adjusted",
            broker=request.broker,
            account=request.account,
            strategy_id=leg.key.strategy_id,
            instrument_id=request.instrument_id,
            kind=kind.name,
            quantity=leg.units,
            order_id=order_id,
            reason=request.reason,
        )
    return order_ids


def _move(request: trading.AdjustPositionsRequest, one: trading.PositionAdjustment) -> Move:
    def key(strategy_id: str, product: int) -> PositionKey:
        return PositionKey(
            request.broker, request.account, strategy_id, request.instrument_id, Product(product)
        )

    price = exact(one.price)
    if price <= 0:
        raise InvalidInput("adjustments.price", price, "more than 0 rupees")
    to = key(one.to_strategy_id, one.to_product) if one.to_strategy_id else None
    return Move(key(one.strategy_id, one.product), one.held, one.units, price, to)
