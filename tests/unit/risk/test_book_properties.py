"""Any sequence of targets, fills, rejections, duplicates and reorderings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.values import replace

from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side, TradingState
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.signal import Signal
from alphapanda.domain.verdict import Approved, Verdict
from alphapanda.risk.core.book import RiskBook

ENDINGS = (OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.FAILED)


@dataclass
class Exchange:
    """Fills what the book lets through, and remembers everything so that it can be told again."""

    market: Any
    product: Product
    book: RiskBook = field(default_factory=RiskBook)
    seen: list[Signal] = field(default_factory=list)
    news: list[OrderState] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    open: dict[str, tuple[Approved, int, int]] = field(default_factory=dict)
    held: int = 0

    def wants(self, target: int, state: TradingState = TradingState.ACTIVE) -> None:
        signal = self.market.target(target, key=replace(self.market.key, product=self.product))
        self.seen.append(signal)
        self.take(self.book.judge(signal, self.market.inputs(state=state)))

    def take(self, verdicts: list[Verdict]) -> None:
        for verdict in verdicts:
            self.verdicts.append(verdict)
            if isinstance(verdict, Approved):
                if verdict.effect is PositionEffect.REDUCES:
                    after = self.held + verdict.side.sign * verdict.quantity
                    assert after * self.held >= 0
                    assert abs(after) < abs(self.held)
                self.open[verdict.signal_id] = (verdict, 0, 0)
        assert len(self.open) <= 1

    def fills(self, share: int, ending: OrderStatus | None, skip: bool) -> None:
        if not self.open:
            return
        order, filled, revision = next(iter(self.open.values()))
        more = (order.quantity - filled) * share // 4
        if ending is OrderStatus.FILLED:
            more = order.quantity - filled
        filled, revision = filled + more, revision + (2 if skip else 1)
        self.held += order.side.sign * more
        status = ending or OrderStatus.PARTIALLY_FILLED
        event = self.market.event(order, filled, status, revision)
        self.news.append(event)
        if ending:
            del self.open[order.signal_id]
        else:
            self.open[order.signal_id] = (order, filled, revision)
        self.take(self.book.on_order(event, self.market.inputs()))

    def again(self, at: int) -> None:
        """Tells an older signal and an older order event once more: nothing comes of it."""
        if self.seen:
            assert self.book.judge(self.seen[at % len(self.seen)], self.market.inputs()) == []
        if self.news:
            assert self.book.on_order(self.news[at % len(self.news)], self.market.inputs()) == []

    def holds_together(self) -> None:
        """The book knows what the exchange knows; no signal has two verdicts."""
        key = replace(self.market.key, product=self.product)
        state = self.book.position(key)
        assert state.quantity == self.held
        assert (state.open.signal_id if state.open else None) == next(iter(self.open), None)
        assert (state.opened_at is None) == (state.quantity == 0)
        assert max(Counter(verdict.signal_id for verdict in self.verdicts).values(), default=0) <= 1
        if self.product is Product.CNC:
            assert state.quantity >= 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wants"), st.integers(-20, 20), st.sampled_from(list(TradingState))),
        st.tuples(
            st.just("fills"), st.integers(0, 4), st.sampled_from([None, None, *ENDINGS]), st.booleans()
        ),
        st.tuples(st.just("again"), st.integers(0, 50)),
    ),
    max_size=40,
)


@given(steps=STEPS, product=st.sampled_from([Product.MIS, Product.CNC]), last=st.integers(-20, 20))
def test_the_book_holds_whatever_happens(new_market, steps, product, last) -> None:
    """At most one open order, one verdict a signal, no reduction across zero, and the last target reached in the end."""
    exchange = Exchange(new_market(), product)
    for name, *arguments in steps:
        getattr(exchange, name)(*arguments)
        exchange.holds_together()
    exchange.wants(last)
    while exchange.open:
        exchange.fills(4, OrderStatus.FILLED, skip=False)
    exchange.holds_together()
    assert exchange.held == (max(last, 0) if product is Product.CNC else last)
    assert {signal.signal_id for signal in exchange.seen} == {v.signal_id for v in exchange.verdicts}


@given(order=st.permutations(range(5)), partial=st.lists(st.integers(0, 10), min_size=4, max_size=4))
def test_order_events_may_come_in_any_order(new_market, order, partial) -> None:
    """Whatever the order between topics, the position and the reservation end the same."""
    market = new_market()
    book, inputs = RiskBook(), market.inputs()
    [approved] = book.judge(market.target(10), inputs)
    filled = [*sorted(partial), 10]
    events = [
        market.event(approved, amount, OrderStatus.FILLED if n == 4 else OrderStatus.PARTIALLY_FILLED, n + 1)
        for n, amount in enumerate(filled)
    ]
    for n in order:
        book.on_order(events[n], inputs)
        book.on_order(events[n], inputs)
    state = book.position(market.key)
    assert (state.quantity, state.open) == (10, None)
    assert approved.side is Side.BUY
