"""The paper exchange's journal and the frames, put into replay's exchange, make the same trades."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from trading_room import CALENDAR, INSTRUMENTS, NOON

from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.funds import Payable
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.order import OrderType, Product, Side, Validity
from alphapanda.domain.order_events import Fill
from alphapanda.domain.terms import Terms
from alphapanda.paper_exchange.core.fill_models import FillModels, Queue
from alphapanda.paper_exchange.core.held_order import NotChanged
from alphapanda.paper_exchange.core.paper_book import PaperBook
from alphapanda.paper_exchange.core.paper_charges import PaperOrder, PercentCharges
from alphapanda.paper_exchange.core.paper_market import PaperMarket

SECOND = timedelta(seconds=1)


class Script:
    """What happens at the exchange, drawn by a seed: frames, and calls between them."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.frames: list[Frame] = []
        self.price, self.volume = 10_000, 0

    def next_frame(self) -> Frame:
        prices = []
        for _ in range(self.chance.randint(1, 3)):
            self.price += self.chance.choice((-40, -15, -5, 0, 5, 15, 40))
            prices.append(self.price)
        self.volume += self.chance.randint(0, 400)
        at = nanoseconds(NOON + (1 + len(self.frames)) * SECOND)
        count = len(prices)
        self.frames.append(
            Frame("run", 0, 1, at, 100, [1] * count, prices, [at] * count, volume=[self.volume] * count)
        )
        return self.frames[-1]

    def terms(self) -> tuple[Side, Terms]:
        side, away = self.chance.choice(list(Side)), Decimal(self.chance.randint(-20, 60) * 5) / 100
        last = Decimal(self.price) / 100
        match self.chance.randint(0, 3):
            case 0:
                return side, Terms()
            case 1:
                return side, Terms(OrderType.LIMIT, limit_price=last - side.sign * away)
            case 2:
                return side, Terms(OrderType.SL_M, trigger_price=last + side.sign * away)
            case _:
                trigger = last + side.sign * away
                return side, Terms(OrderType.SL, limit_price=trigger + side.sign, trigger_price=trigger)


class JournalReplay:
    """Replay's exchange, shown a journal and frames.

    Attributes:
        fills: by tag.
    """

    def __init__(self, models: FillModels, instrument: Instrument) -> None:
        model = PaperMarket(Decimal("0.05"), PercentCharges(Decimal("0.1")), seed=7, models=models)
        self.fills: dict[str, tuple[Fill, ...]] = {}
        self._book = PaperBook("paper", model, CALENDAR)
        self._instrument = instrument
        self._numbers: dict[str, str] = {}

    def show(self, frame: Frame) -> MarketView:
        """Shows a frame, tick by tick; returns the market after it."""
        for price, volume in zip(frame.last_price, frame.volume, strict=True):
            last = LastPrice(
                Decimal(price) / frame.price_scale, frame.market_time, None, volume, Decimal(100)
            )
            market = MarketView(frame.market_time, "run", {1: last})
            for tag, number in self._numbers.items():
                if number in self._book.held:
                    self._told(tag, self._book.settle(number, market, lambda _, fill: Payable(fill.quantity)))
        return market

    def call(self, made: Any, market: MarketView) -> None:
        """Makes a call of the journal."""
        terms = Terms(OrderType(made.order_type), Validity.DAY, made.limit_price, made.trigger_price)
        if made.what == "place":
            order = PaperOrder(
                made.account, made.strategy_id, self._instrument, Product(made.product), Side(made.side),
                made.quantity, 0, terms,
            )  # fmt: skip
            report = self._book.place(order, None, market)
            self._numbers[made.tag] = report.broker_order_id
        elif made.what == "cancel":
            report = self._book.cancel(self._numbers[made.tag])
        else:
            report = self._book.modify(self._numbers[made.tag], made.quantity, terms, market)
        self._told(made.tag, report)

    def _told(self, tag: str, report: BrokerOrder | None) -> None:
        if report is not None:
            self.fills[tag] = report.fills


@pytest.mark.parametrize("circuit", [None, Decimal(1)], ids=["no circuits", "circuits"])
async def test_the_journal_replayed_in_memory_fills_the_same(opened, circuit: Decimal | None) -> None:
    """The exchange's own journal and the frames, put into replay's exchange, make the same trades, price by price.

    An order arrives at the market time of its call; nothing else decides what it meets.
    """
    models = FillModels(fill_share=Decimal(5), queue=Queue.BACK, circuit=circuit)
    instrument = INSTRUMENTS.by_id("NSE:S1")
    assert instrument is not None
    async with opened(models=models) as room:
        await room.open_for_trading()
        script, exchange, tags = Script(5), room.exchange, ["none"]
        for _ in range(60):
            frame = script.next_frame()
            async for _tag in exchange.see(frame):
                pass
            await room.prices.write([frame])
            if script.chance.random() < 0.6:
                side, terms = script.terms()
                tags.append(f"tag{len(tags)}")
                order = PaperOrder(
                    "default",
                    "crossing",
                    instrument,
                    Product.MIS,
                    side,
                    script.chance.randint(1, 40),
                    terms=terms,
                )
                await exchange.place("paper", tags[-1], order)
            with suppress(NotChanged):
                if script.chance.random() < 0.2:
                    await exchange.cancel("paper", "default", script.chance.choice(tags))
                elif script.chance.random() < 0.2:
                    side, terms = script.terms()
                    await exchange.modify("paper", "default", script.chance.choice(tags), 45, terms)
        calls = await room.rows(
            "SELECT c.*, o.side, o.product, o.order_type, o.strategy_id, o.status FROM paper_exchange.calls c"
            " JOIN paper_exchange.orders o ON o.broker_order_id::text = c.broker_order_id ORDER BY c.seq"
        )
        made = await room.rows(
            "SELECT o.tag, t.price, t.quantity, t.traded_at FROM paper_exchange.trades t"
            " JOIN paper_exchange.orders o USING (broker_order_id) ORDER BY t.exchange_trade_id"
        )
        refused = await room.rows(
            "SELECT message FROM paper_exchange.orders WHERE message LIKE '%circuit limits%'"
        )
    assert len(made) > (25 if circuit is None else 10)
    assert bool(refused) is (circuit is not None)
    if circuit is not None:
        assert all(99 <= row.price <= 101 for row in made)
    assert {call.what for call in calls} == {"place", "modify", "cancel"}
    again, waiting = JournalReplay(models, instrument), deque(calls)
    for frame in script.frames:
        market = again.show(frame)
        while waiting and waiting[0].market_time <= frame.market_time:
            again.call(waiting.popleft(), market)
    trades = [(tag, f.price, f.quantity, f.traded_at) for tag, fills in again.fills.items() for f in fills]
    assert sorted(trades) == sorted(tuple(row) for row in made)
