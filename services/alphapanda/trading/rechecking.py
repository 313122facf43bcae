"""Asks a broker for a call of an order again, because its books show more of it than ours: what was missed is booked, once."""

from __future__ import annotations

import structlog

from alphapanda.mesh.errors import NotFound, Unavailable
from alphapanda.resilience.failures import in_one_line
from alphapanda.trading.execution_context import ExecutionContext, locked_order, reported
from alphapanda.trading.traders.trader import BrokerIsOff, NoClearAnswer

_log = structlog.get_logger(__name__)


async def recheck(context: ExecutionContext, order_id: str, intent_id: str) -> bool:
    """Looks up a call and stores what the broker shows of it; returns whether it shows it. Nothing is ever sent.

    Raises:
        NotFound: there is no such order or call.
        Unavailable: the broker can't be asked now.
    """
    stored = await context.store.find(order_id)
    intent = (
        next((one for one in stored.order.intents if one.intent_id == intent_id), None) if stored else None
    )
    if stored is None or intent is None:
        raise NotFound("NO_ORDER", f"there is no order {order_id!r} with the call {intent_id!r}")
    key = stored.order.key
    trader = context.traders.get(key.broker)
    if trader is None:
        raise Unavailable("BROKER_NOT_READY", f"broker {key.broker!r} isn't active here")
    try:
        report = await trader.look_up(key.account, intent.tag)
    except (NoClearAnswer, BrokerIsOff) as unclear:
        raise Unavailable("BROKER_NOT_READY", in_one_line(unclear)) from unclear
    if report is None:
        return False
    market_time = await context.market_time()
    async with context.store.transaction() as transaction:
        order = await locked_order(transaction, order_id)
        filled = order.filled
        updates = reported(order, order.intents[intent.number], report, market_time)
        if updates:
            await transaction.save([context.change(order, updates)])
    if updates:
        _log.warning(
            "order.rechecked",
            order_id=order_id,
            broker=key.broker,
            account=key.account,
            tag=intent.tag,
            quantity=order.filled - filled,
        )
    return True
