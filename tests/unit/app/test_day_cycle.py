"""What the steps of the exchange's day ask and say, on services whose answers a test gives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.message import Message

from alphapanda.app.day_cycle import LiveDay
from alphapanda.ops.day_cycle import NotYet
from alphapanda.ops.day_steps import DayStep
from alphapanda.settings.sources import load_settings
from panda.auth.v1 import broker_session_pb2 as sessions
from panda.common.v1 import common_pb2 as common
from panda.instruments.v1 import instruments_pb2 as instruments
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1 import trading_pb2 as trading

SYMBOL = "NSE:INFY"


class Services:
    """Channels whose calls have answers, by name."""

    def __init__(self) -> None:
        self.answers: dict[str, Message] = {
            "GetPortfolio": portfolio.GetPortfolioResponse(),
            "ListOrders": trading.ListOrdersResponse(),
        }

    def unary_unary(self, path: str, *_: Any, **__: Any) -> Any:
        async def call(request: Message) -> Message:
            return self.answers[path.rpartition("/")[2]]

        return call

    def unary_stream(self, *_: Any, **__: Any) -> None:
        return None

    def day(self) -> LiveDay:
        """The steps of a platform with an account at Zerodha."""
        settings = load_settings(
            {
                "ALPHAPANDA_ZERODHA__API_KEY": "stubkey",  # pragma: allowlist secret
                "ALPHAPANDA_ZERODHA__API_SECRET": "stubsecret",  # pragma: allowlist secret
            }
        )
        resources: Any = SimpleNamespace(settings=settings, channel=lambda *_, **__: self)
        return LiveDay(resources, ["zerodha"])

    def hold(self, quantity: int, *orders: dict[str, Any]) -> None:
        """Lets a strategy hold units intraday, beside a delivery, with working orders."""
        held = [
            portfolio.Position(strategy_id="s", symbol=SYMBOL, product=common.PRODUCT_MIS, quantity=quantity),
            portfolio.Position(strategy_id="s", symbol=SYMBOL, product=common.PRODUCT_CNC, quantity=5),
        ]
        self.answers["ListPositions"] = portfolio.ListPositionsResponse(positions=held)
        made = trading.ListOrdersResponse()
        for order in orders:
            state = {"strategy_id": "s", "product": common.PRODUCT_MIS, "side": common.SIDE_SELL, **order}
            made.orders.add(symbol=SYMBOL).state.MergeFrom(trading.Order().state.__class__(**state))
        self.answers["ListOrders"] = made


@pytest.fixture
def services() -> Services:
    return Services()


def test_each_step_is_one_that_is_asked(services: Services) -> None:
    """No step of the day is without its look."""
    assert set(services.day().checks) == set(DayStep)


async def test_nobody_signed_in_no_instruments_and_no_limits_are_said_with_their_remedy(
    services: Services,
) -> None:
    """Each step before the open looks at what another service does, and says what is missing."""
    day, ended = services.day(), sessions.BROKER_SESSION_STATE_ENDED
    services.answers["GetBrokerSession"] = sessions.GetBrokerSessionResponse(
        session=sessions.BrokerSession(state=ended)
    )
    services.answers["ListInstruments"] = instruments.ListInstrumentsResponse()
    account = risk.LiveAccount(broker="zerodha", account="default", why_not="it isn't armed")
    account.limits.add(name="max_daily_loss", value="off")
    services.answers["GetLiveAccounts"] = risk.GetLiveAccountsResponse(accounts=[account])
    with pytest.raises(NotYet, match="kite login"):
        await day.session()
    with pytest.raises(NotYet, match="no instruments are known"):
        await day.instruments()
    with pytest.raises(NotYet, match="zerodha/default has no max_daily_loss"):
        await day.limits()
    account.limits[0].value = "5000"
    services.answers["GetLiveAccounts"] = risk.GetLiveAccountsResponse(accounts=[account])
    assert await day.limits() == "zerodha/default has its limits, it isn't armed"
    assert await day.open() == "zerodha/default: it isn't armed"


@pytest.mark.parametrize(
    ("orders", "covered"),
    [
        ([], False),
        ([{"leaves_quantity": 10}], True),
        ([{"leaves_quantity": 6}], False),
        ([{"leaves_quantity": 6}, {"leaves_quantity": 4}], True),
        ([{"leaves_quantity": 10, "trigger_pending": True}], False),
        ([{"leaves_quantity": 10, "side": common.SIDE_BUY}], False),
        ([{"leaves_quantity": 10, "strategy_id": "other"}], False),
    ],
    ids=["nothing works", "an exit", "a part", "two parts", "a stop", "more of it", "another's"],
)
async def test_rule_14_a_position_is_covered_by_exits_of_its_own(
    services: Services, orders: list[dict[str, Any]], covered: bool
) -> None:
    """At the cut-off and two minutes later that is enough; five minutes later nothing may be held."""
    services.hold(10, *orders)
    day = services.day()
    if covered:
        assert await day.covered() == "on their way out: 10 NSE:INFY of s at zerodha/default"
    else:
        with pytest.raises(NotYet, match="without an exit on its way: 10 NSE:INFY of s at zerodha/default"):
            await day.covered()
    with pytest.raises(NotYet, match="are held after the cut-off: 10 NSE:INFY"):
        await day.flat()


async def test_rule_14_a_delivery_is_no_intraday_position(services: Services) -> None:
    """What is flat, or held for delivery, is no reason."""
    services.hold(0)
    assert await services.day().covered() == await services.day().flat() == "no MIS position is held"
