"""What trading knows of an account: its orders of the day and those that haven't ended, and what it holds."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from alphapanda.contract.wire import decimal, moment
from alphapanda.domain.order import OrderStatus, Product
from alphapanda.portfolio.core.adjustment_plan import Plan
from alphapanda.portfolio.core.discrepancy import Unit
from alphapanda.portfolio.core.reconciled_books import OurOrder
from alphapanda.portfolio.store.port import AccountName
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import orders_pb2
from panda.trading.v1 import trading_pb2 as trading

_PAGE: Final = 500
_AT_THE_BROKER: Final = frozenset(
    {OrderStatus.SUBMITTING, OrderStatus.UNKNOWN, OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED}
)
_OPEN: Final = (*sorted(_AT_THE_BROKER), OrderStatus.PENDING_SUBMIT)


class Trading(Protocol):
    """The part of TradingService that is called here; TradingServiceStub implements it."""

    def ListOrders(  # noqa: N802 - the contract's name
        self, request: trading.ListOrdersRequest, /
    ) -> Awaitable[trading.ListOrdersResponse]:
        """Orders, newest first."""

    def GetBrokerComparison(  # noqa: N802 - the contract's name
        self, request: trading.GetBrokerComparisonRequest, /
    ) -> Awaitable[trading.GetBrokerComparisonResponse]:
        """What trading holds."""

    def RecheckOrder(  # noqa: N802 - the contract's name
        self, request: trading.RecheckOrderRequest, /
    ) -> Awaitable[trading.RecheckOrderResponse]:
        """Asks the broker for a call of an order again."""

    def AdjustPositions(  # noqa: N802 - the contract's name
        self, request: trading.AdjustPositionsRequest, /
    ) -> Awaitable[trading.AdjustPositionsResponse]:
        """Books changes of positions that no trade explains."""


class Call(NamedTuple):
    """The ids of an order and of one of its calls."""

    order_id: str
    intent_id: str


@dataclass(frozen=True, slots=True)
class TradingBooks:
    """What trading knows of an account.

    Attributes:
        orders: of the day, and those that haven't ended.
        calls: by tag.
        held: units over all strategies.
    """

    orders: Sequence[OurOrder]
    calls: Mapping[str, Call]
    held: Mapping[Unit, int]


async def read_trading(stub: Trading, name: AccountName, since: datetime | None) -> TradingBooks:
    """Reads what trading knows.

    Args:
        stub: TradingService.
        name: the account.
        since: aware begin of the broker's day; None: no orders are needed.

    Raises:
        grpc.aio.AioRpcError: trading doesn't answer.
    """
    found: dict[str, trading.Order] = {}
    everything = trading.ListOrdersRequest(broker=name.broker, account=name.account, page_size=_PAGE)
    unended = trading.ListOrdersRequest(
        broker=name.broker,
        account=name.account,
        statuses=[common.OrderStatus.ValueType(status) for status in _OPEN],
        page_size=_PAGE,
    )
    for request, begin in ((everything, since), (unended, None)) if since is not None else ():
        while True:
            answer = await stub.ListOrders(request)
            wanted = [one for one in answer.orders if begin is None or moment(one.created_at) >= begin]
            found |= {one.state.order_id: one for one in wanted}
            if not answer.next_page_token or len(wanted) < len(answer.orders):
                break
            request.page_token = answer.next_page_token
    compared = await stub.GetBrokerComparison(trading.GetBrokerComparisonRequest(broker=name.broker))
    held = {
        Unit(one.instrument_id, Product(one.product)): one.quantity
        for one in compared.held
        if one.account == name.account
    }
    calls = {
        intent.tag: Call(one.state.order_id, intent.intent_id)
        for one in found.values()
        for intent in one.intents
    }
    return TradingBooks([_order(one) for one in found.values()], calls, held)


def _order(one: trading.Order) -> OurOrder:
    return OurOrder(
        order_id=one.state.order_id,
        tags=tuple(intent.tag for intent in one.intents),
        broker_ids=tuple(intent.broker_order_id for intent in one.intents if intent.broker_order_id),
        open_tags=tuple(intent.tag for intent in one.intents if OrderStatus(intent.status) in _AT_THE_BROKER),
        instrument_id=one.state.instrument_id,
        created_at=moment(one.created_at),
    )


def adjustment_request(
    name: AccountName, planned: Plan, subject_id: str, instrument_id: str, reason: str
) -> trading.AdjustPositionsRequest:
    """The command that books a plan."""
    return trading.AdjustPositionsRequest(
        subject_id=subject_id,
        broker=name.broker,
        account=name.account,
        instrument_id=instrument_id,
        kind=orders_pb2.AdjustmentKind.ValueType(planned.kind),
        reason=reason,
        adjustments=[
            trading.PositionAdjustment(
                strategy_id=move.key.strategy_id,
                product=common.Product.ValueType(move.key.product),
                held=move.held,
                units=move.units,
                price=decimal(move.price),
                to_strategy_id=move.to.strategy_id if move.to else "",
                to_product=common.Product.ValueType(move.to.product if move.to else 0),
            )
            for move in planned.moves
        ],
    )
