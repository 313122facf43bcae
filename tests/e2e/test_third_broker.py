"""A third broker is one file (dealer.py), one line and one entry in active_brokers, with topics, books and checks of its own."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from dealer import FEE, MOST, NAME, PRICE, DealersBook, registration
from evidence import Evidence, check_chains, check_envelopes, read_evidence
from recordings import DAY, walk

from alphapanda.app.embedded import Embedded
from alphapanda.app.resources import ProcessResources
from alphapanda.app.up_options import UpOptions
from alphapanda.domain.broker_order import BrokerOrderStatus
from alphapanda.domain.order import OrderStatus, Side
from alphapanda.mesh.channel import open_channel
from alphapanda.settings.sources import load_settings
from alphapanda.strategy.consumer import StrategyTicks
from alphapanda.trading.traders.brokers import BROKERS
from panda.ops.v1.ops_pb2 import GetStatusRequest, GetStatusResponse
from panda.ops.v1.ops_pb2_grpc import OpsServiceStub
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from panda.risk.v1.risk_pb2 import ArmLiveAccountRequest
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub

ACTIVE = ("paper", "zerodha", NAME)
UNANSWERED = frozenset({3})
# From a file, so that all three run before the recording begins.
THREE_STRATEGIES = f"""\
strategies:
  - {{strategy_id: both, strategy_type: ema_cross, parameters: {{fast: 3, slow: 6}}, symbols: ["NSE:INFY"],
     quantity: 10, brokers: [{NAME}]}}
  - {{strategy_id: paper_alone, strategy_type: ema_cross, parameters: {{fast: 2, slow: 5}}, symbols: ["NSE:INFY"],
     quantity: 7}}
  - {{strategy_id: too_big, strategy_type: ema_cross, parameters: {{fast: 3, slow: 6}}, symbols: ["NSE:INFY"],
     quantity: {MOST + 1}, brokers: [{NAME}]}}
"""
SERVICES = [
    f"panda.{service}.v1.{service.title()}Service" for service in ("strategy", "ops", "portfolio", "trading")
]


LIMITS = {"max_order_value": 10**7, "max_daily_loss": 10**6, "max_daily_trades": 500}


class ArmedPlatform(Embedded):
    """A platform that arms the dealer's account for the recording's day before its first frame."""

    async def _before_feed(self, resources: ProcessResources, ticks: StrategyTicks) -> None:
        async with resources.channel("risk", "panda.risk.v1.RiskService", caller="ops") as channel:
            request = ArmLiveAccountRequest(request_id="1", broker=NAME, day=DAY, reason="a test")
            await RiskServiceStub(channel).ArmLiveAccount(request, timeout=60)
        await super()._before_feed(resources, ticks)


@dataclass
class Morning:
    """What the dealer wrote down, what the platform stored, and what it said of itself.

    Attributes:
        live: whether the dealer's orders reach a real exchange.
    """

    live: bool
    dealers: DealersBook
    evidence: Evidence
    status: GetStatusResponse
    portfolios: dict[str, portfolio.Portfolio]


@pytest.fixture(scope="module")
def mornings() -> Callable[[bool], Morning]:
    """Makes each of the two mornings once, whatever the order in which tests ask for them."""

    @cache
    def made(live: bool) -> Morning:
        with tempfile.TemporaryDirectory(prefix="panda-") as folder:
            dealers = DealersBook(unanswered=UNANSWERED)
            status, portfolios = asyncio.run(_trade(Path(folder), dealers, live=live))
            evidence = read_evidence(Path(folder, "data"), ACTIVE, live=(NAME,) if live else ())
        return Morning(live, dealers, evidence, status, portfolios)

    return made


@pytest.fixture(params=[False, True], ids=["simulated", "live"])
def morning(request: pytest.FixtureRequest, mornings: Callable[[bool], Morning]) -> Morning:
    """Strategies on paper alone, on paper and the dealer, and one whose orders the dealer finds too big."""
    return mornings(request.param)


async def _trade(
    folder: Path, dealers: DealersBook, *, live: bool
) -> tuple[GetStatusResponse, dict[str, portfolio.Portfolio]]:
    options = UpOptions(
        data_dir=folder / "data",
        feed=f"replay:{walk(folder, bars=120, last='11:30')}",
        instrument="NSE:INFY",
        brokers=(*BROKERS, registration(dealers, live=live)),
    )
    yaml = folder / "strategies.yaml"
    yaml.write_text(THREE_STRATEGIES, encoding="utf-8")
    settings = load_settings({}, api={"port": 0}, active_brokers=ACTIVE, strategy={"yaml": yaml}, risk=LIMITS)
    embedded = (ArmedPlatform if live else Embedded)(settings, options)
    await embedded.start()
    try:
        async with open_channel(embedded.target, SERVICES) as channel:
            # A recording moves in lockstep: when it has ended, nothing is in work.
            await asyncio.wait_for(embedded.feeding.publisher.finished.wait(), 60)
            asked = await OpsServiceStub(channel).GetStatus(GetStatusRequest())
            books = PortfolioServiceStub(channel)
            portfolios = {
                broker: (await books.GetPortfolio(portfolio.GetPortfolioRequest(broker=broker))).portfolio
                for broker in ("paper", NAME)
            }
            return asked, portfolios
    finally:
        await embedded.stop()


def test_its_topics_hold_its_own_and_nobody_elses(morning: Morning) -> None:
    """The dealer's topics hold the strategies that opted in; paper's hold all of them; zerodha's, which is off, none."""
    check_envelopes(morning.evidence)
    check_chains(morning.evidence)
    found: dict[str, set[str]] = {broker: set() for broker in ACTIVE}
    for event in morning.evidence.of("trading_signal", "signal_validated", "order_filled", "order_failed"):
        payload = getattr(event, event.WhichOneof("payload") or "")
        found[event.broker].add(getattr(payload, "order", payload).strategy_id)
    everybody = {"both", "paper_alone", "too_big"}
    assert found == {"paper": everybody, "zerodha": set(), NAME: {"both", "too_big"}}
    topics = {record.topic for record in morning.evidence.records if record.topic.startswith(f"{NAME}.")}
    assert {f"{NAME}.signals.validated", f"{NAME}.orders.filled", f"{NAME}.orders.failed"} <= topics


def test_its_orders_are_what_it_wrote_down(morning: Morning) -> None:
    """Each order reached the dealer once, and stands in the platform as it stands at the dealer, fees included."""
    tags = Counter(placement.tag for placement in morning.dealers.calls)
    assert set(tags.values()) == {1}
    intents = {row["tag"]: row for row in morning.evidence.rows("intents") if row["broker"] == NAME}
    assert intents.keys() == tags.keys()
    for tag, order in morning.dealers.orders.items():
        filled = order.status is BrokerOrderStatus.COMPLETE
        assert intents[tag]["broker_order_id"] == order.broker_order_id
        assert intents[tag]["status"] == (OrderStatus.FILLED if filled else OrderStatus.REJECTED)
    booked = {row["fill_id"]: row for row in morning.evidence.rows("fills") if row["broker"] == NAME}
    theirs = {fill.fill_id: fill for order in morning.dealers.orders.values() for fill in order.fills}
    assert {str(key) for key in booked} == theirs.keys()
    assert len(theirs) >= 5
    assert {(row["price"], row["commission"]) for row in booked.values()} == {(PRICE, FEE)}


def test_what_it_does_not_answer_is_looked_up(morning: Morning) -> None:
    """A placement that the dealer took and didn't answer is found under its tag and not sent again."""
    (number,) = UNANSWERED
    placement = morning.dealers.calls[number - 1]
    (intent,) = [row for row in morning.evidence.rows("intents") if row["tag"] == placement.tag]
    taken = morning.dealers.orders[placement.tag]
    assert intent["broker_order_id"] == taken.broker_order_id
    assert intent["filled"] == sum(fill.quantity for fill in taken.fills)


def test_its_refusals_are_told_in_its_words(morning: Morning) -> None:
    """An order that is too big for the dealer failed there in its words, while paper filled the same strategy's."""
    failed = [event.order_failed for event in morning.evidence.of("order_failed") if event.broker == NAME]
    assert failed
    assert {(one.order.strategy_id, one.message) for one in failed} == {
        ("too_big", f"we deal in {MOST} units at most")
    }
    held = Counter(row["broker"] for row in morning.evidence.rows("fills") if row["strategy_id"] == "too_big")
    assert held.keys() == {"paper"}


def test_its_books_are_its_own(morning: Morning) -> None:
    """The dealer's account has cash, ledger and positions that follow from its fills alone.

    Where it is live the dealer keeps the cash itself: the ledger begins with nothing.
    """
    for broker in ("paper", NAME):
        fills = [row for row in morning.evidence.rows("fills") if row["broker"] == broker]
        cost = sum(
            (
                (1 if row["side"] == Side.BUY else -1) * row["quantity"] * row["price"]
                + row["commission"]
                + row["day_charges"]
                for row in fills
            ),
            Decimal(),
        )
        (account,) = [row for row in morning.evidence.rows("accounts") if row["broker"] == broker]
        assert account["starting_cash"] == (0 if broker == NAME and morning.live else 1_000_000)
        assert account["cash"] == account["starting_cash"] - cost
        assert Decimal(morning.portfolios[broker].cash.amount.value) == account["cash"]


def test_its_checks_are_its_own(morning: Morning) -> None:
    """The status names the three brokers, and counts the dealer's records apart from paper's."""
    modes = {one.broker: one.mode for service in morning.status.services for one in service.brokers}
    assert modes == {"paper": "on", "zerodha": "off", NAME: "on"}
    processed = {
        (consumer.consumer, consumer.broker): consumer.processed
        for service in morning.status.services
        for consumer in service.consumers
    }
    verdicts = Counter(event.broker for event in morning.evidence.of("signal_validated", "signal_rejected"))
    assert {broker: processed["trading", broker] for broker in ("paper", NAME)} == verdicts
