"""Compares a broker's own books with trading's, for a reconciliation."""

from __future__ import annotations

from collections import Counter

from alphapanda.contract.wire import money
from alphapanda.domain.broker_books import Holding
from alphapanda.trading.core.broker_books import differences
from alphapanda.trading.store.port import OrderFilter, PositionFilter, TradingStore
from alphapanda.trading.traders.trader import NoClearAnswer, Trader
from panda.common.v1 import common_pb2 as common
from panda.trading.v1 import trading_pb2 as trading

_NEWEST_ORDERS = 3_000


async def comparison(store: TradingStore, trader: Trader) -> trading.GetBrokerComparisonResponse:
    """Compares the newest orders and all positions; of a broker that doesn't tell its books it says that."""
    held: Counter[Holding] = Counter()
    async with store.transaction() as transaction:
        for one in await transaction.exposures(PositionFilter(broker=trader.broker)):
            held[Holding(one.key.account, one.key.instrument_id, one.key.product)] += one.held
    answer = trading.GetBrokerComparisonResponse(
        held=[
            trading.HeldQuantity(
                account=which.account,
                instrument_id=which.instrument_id,
                product=common.Product.ValueType(which.product),
                quantity=quantity,
            )
            for which, quantity in sorted(held.items())
            if quantity
        ]
    )
    try:
        books = await trader.books()
    except NoClearAnswer as error:
        answer.differences.append(f"broker {trader.broker!r} can't be asked now: {error}")
        return answer
    if books is None:
        answer.differences.append(
            f"broker {trader.broker!r} doesn't tell its books: compare its orders, positions and cash by hand"
        )
        return answer
    newest = await store.newest(OrderFilter(trader.broker), None, _NEWEST_ORDERS)
    filled = {intent.tag: intent.filled for stored in newest for intent in stored.order.intents}
    ours = {which: quantity for which, quantity in held.items() if quantity}
    answer.differences.extend(differences(books, filled, ours))
    answer.cash.extend(
        trading.BrokerCash(account=account, traded=money(amount)) for account, amount in books.cash.items()
    )
    return answer
