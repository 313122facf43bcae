"""Funds: what positions and orders block, and what can't be paid."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.values import replace

from alphapanda.domain.funds import AccountFunds, FundsTerms, Payable, no_charges
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.margin import MarginKind, load_margin_model, parse_margin_model, strike_of
from alphapanda.domain.order import OrderStatus, OrderType, PositionEffect, Product, Side
from alphapanda.domain.order_events import Fill
from alphapanda.domain.signal import MANUAL
from alphapanda.domain.terms import Terms
from alphapanda.domain.verdict import Approved, Refused, RuleOutcome, Verdict
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.funds import needed
from alphapanda.risk.core.position import PositionState

D = Decimal
PRICE, FREE = D(1500), D(0)
DAY = date(2026, 3, 4)
WHOSE = ("paper", "default")
TERMS = FundsTerms(load_margin_model(), D(0), no_charges)
TOKENS = {"NSE:INFY": 408065, "NFO:X": 9001}
LOTS = {"NSE:INFY": 1, "NFO:X": 75}


@dataclass
class Account:
    """A book with cash; orders fill at 1500 rupees, the only price there is, unless told otherwise."""

    market: Any
    cash: int = 100_000
    terms: FundsTerms = TERMS
    book: RiskBook = field(init=False)
    open: dict[str, tuple[Approved, int, int, Decimal]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.book = RiskBook(funds={WHOSE: AccountFunds(D(self.cash))})

    @property
    def funds(self) -> AccountFunds:
        return self.book.funds[WHOSE]

    def key(self, strategy: str = "ema-1", instrument: str = "NSE:INFY", product: Product = Product.MIS):
        return replace(self.market.key, strategy_id=strategy, instrument_id=instrument, product=product)

    def inputs(self, **known: object):
        plain = self.market.inputs(max_order=None, max_position=None, **known)
        return replace(plain, funds=self.terms)

    def wants(self, target: int, key: Any = None, **known: object) -> list[Verdict]:
        key = key or self.key()
        signal = self.market.target(target, key=key, revision=0, token=TOKENS[key.instrument_id])
        return self.take(self.book.judge(signal, self.inputs(**known)))

    def take(self, verdicts: list[Verdict]) -> list[Verdict]:
        for verdict in verdicts:
            if isinstance(verdict, Approved):
                self.open[verdict.signal_id] = (verdict, 0, 0, D(0))
        return verdicts

    def fills(
        self,
        order: Approved,
        units: int = 0,
        status: OrderStatus = OrderStatus.FILLED,
        price: Decimal = PRICE,
        charges: Decimal = FREE,
        *,
        skipped: bool = False,
    ) -> None:
        _, filled, revision, paid = self.open.pop(order.signal_id)
        units = units or (order.quantity if status is OrderStatus.FILLED else 0)
        event = self.market.event(order, filled + units, status, revision + 1)
        event = replace(event, average_price=price if filled + units else None, charges=paid + charges)
        fill = Fill(f"{order.signal_id}-{revision}", "1", units, price, charges, self.market.now)
        if not status.is_final:
            self.open[order.signal_id] = (order, filled + units, revision + 1, paid + charges)
        if not skipped:
            self.take(self.book.on_order(event, self.inputs(), fill if units else None))

    def trades(self, target: int, key: Any = None, price: Decimal = PRICE) -> None:
        [order] = self.wants(target, key)
        assert isinstance(order, Approved)
        self.fills(order, price=price)


def line(verdict: Verdict):
    """The result of buying_power."""
    return next(result for result in verdict.rules if result.rule == "buying_power")


def test_an_order_that_can_not_be_paid_is_refused_with_what_would_pass(market) -> None:
    """Needed, available and the largest quantity are in the verdict, and that quantity passes."""
    account = Account(market)
    [refused] = account.wants(500)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.largest_quantity) == ("BUYING_POWER", 333)
    assert (line(refused).limit, line(refused).observed) == ("<= 100000.00", "150000.00")
    assert "needs 150000.00 rupees" in refused.message
    assert "333 would pass" in refused.message
    account.trades(333)
    assert account.funds.margin == D("99900.00")


@pytest.mark.parametrize(
    ("product", "instrument", "target", "used"),
    [
        (Product.MIS, "NSE:INFY", 10, D(3000)),
        (Product.MIS, "NSE:INFY", -10, D(3000)),
        (Product.CNC, "NSE:INFY", 10, D(15000)),
        (Product.NRML, "NFO:X", 75, D(16875)),
        (Product.NRML, "NFO:X", -75, D(16875)),
    ],
)
def test_a_position_blocks_what_its_product_needs(market, product, instrument, target, used) -> None:
    """A fifth for intraday shares, long or short; delivery its whole value; futures their percentage."""
    account = Account(market)
    account.trades(target, account.key(instrument=instrument, product=product))
    assert (account.funds.margin, account.funds.blocked) == (used, 0)
    account.trades(0, account.key(instrument=instrument, product=product))
    assert account.funds == AccountFunds(D(100_000))


@pytest.mark.parametrize(
    ("side", "terms", "blocked"),
    [
        (Side.BUY, Terms(OrderType.LIMIT, limit_price=D(1400)), D(2800)),
        (Side.BUY, Terms(OrderType.LIMIT, limit_price=D(1600)), D(3200)),
        (Side.SELL, Terms(OrderType.LIMIT, limit_price=D(1600)), D(3200)),
        (Side.SELL, Terms(OrderType.LIMIT, limit_price=D(1400)), D(3000)),
        (Side.BUY, Terms(OrderType.SL, limit_price=D(1620), trigger_price=D(1600)), D(3240)),
        (Side.BUY, Terms(OrderType.SL_M, trigger_price=D(1600)), D(3200)),
        (Side.SELL, Terms(OrderType.SL_M, trigger_price=D(1400)), D(3000)),
    ],
)
def test_a_working_order_blocks_by_its_limit_price(market, side, terms, blocked) -> None:
    """A purchase at its limit or trigger, a short sale at the limit or the last price, whichever is more."""
    account = Account(market)
    signal = replace(market.explicit(side, 10, key=replace(account.key(), strategy_id=MANUAL)), terms=terms)
    [order] = account.take(account.book.judge(signal, account.inputs()))
    assert isinstance(order, Approved)
    assert account.funds.blocked == blocked


def test_a_modified_order_blocks_by_its_new_terms(market) -> None:
    """Its limit raised from 1,400 to 1,600, then half of its units: what it blocks follows, and is free again with its end."""
    account = Account(market)
    low, high = (Terms(OrderType.LIMIT, limit_price=D(price)) for price in (1400, 1600))
    signal = market.explicit(Side.BUY, 10, key=replace(account.key(), strategy_id=MANUAL))
    [order] = account.book.judge(replace(signal, terms=low), account.inputs())
    assert isinstance(order, Approved)
    blocked = []
    for revision, (terms, units) in enumerate(((low, 10), (high, 10), (high, 5)), 1):
        event = market.event(order, 0, OrderStatus.OPEN, revision)
        account.book.on_order(replace(event, terms=terms, quantity=units), account.inputs())
        blocked.append(account.funds.blocked)
    assert blocked == [2800, 3200, 1600]
    account.book.on_order(market.event(order, 0, OrderStatus.CANCELLED, 4), account.inputs())
    assert account.funds.blocked == 0


def test_a_size_in_rupees_buys_at_the_limit_price(market) -> None:
    """15,000 rupees are ten shares at the last price, and twelve at a limit of 1,250."""
    account = Account(market)
    limit = Terms(OrderType.LIMIT, limit_price=D(1250))
    signal = replace(market.target(1, key=account.key()), size="15000INR", terms=limit)
    [order] = account.take(account.book.judge(signal, account.inputs()))
    assert isinstance(order, Approved)
    assert order.quantity == 12


def test_an_order_blocks_while_it_works_and_releases_with_its_end(market) -> None:
    """What fills becomes the position's margin, in parts too; what is cancelled is free again."""
    account = Account(market)
    [order] = account.wants(100)
    blocked = account.funds.blocked
    assert blocked == D("30000.00")
    account.fills(order, 40, OrderStatus.PARTIALLY_FILLED)
    assert account.funds.margin == 12_000
    assert account.funds.blocked == D("18000.00")
    account.fills(order, 0, OrderStatus.CANCELLED)
    assert (account.funds.margin, account.funds.blocked) == (12_000, 0)


def test_two_strategies_share_one_purse(market) -> None:
    """What one blocks, even before it fills, the other can't use."""
    account = Account(market)
    account.wants(300)
    [refused] = account.wants(300, account.key("other"))
    assert (refused.reason, refused.largest_quantity) == ("BUYING_POWER", 33)


def test_profit_and_charges_move_what_is_available(market) -> None:
    """A loss and the charges are gone, a profit can be used."""
    account = Account(market)
    [order] = account.wants(10)
    account.fills(order, charges=D(20))
    [order] = account.wants(0)
    account.fills(order, price=D(1400), charges=D(30))
    assert account.funds == AccountFunds(D(100_000), D(-1050))
    account.trades(10)
    account.trades(0, price=D(1600))
    assert account.funds.available == D(99_950)


def test_charges_of_a_fill_that_came_behind_the_end_count(market) -> None:
    """Topics may overtake each other: the end carries the charges of all fills."""
    account = Account(market)
    [order] = account.wants(10)
    account.fills(order, 10, OrderStatus.PARTIALLY_FILLED, charges=D(20), skipped=True)
    account.fills(order, 0, OrderStatus.CANCELLED)
    assert account.funds == AccountFunds(D(100_000), D(-20), D(3000))


def test_an_exit_passes_whatever_is_left(market) -> None:
    """Without cash, without a price, with unknown funds: an exit passes, a flip is cut to flat, an entry is refused."""
    account = Account(market)
    account.trades(300)
    [flip] = account.wants(-2000)
    assert isinstance(flip, Approved)
    assert (flip.quantity, flip.effect, line(flip).outcome) == (
        300,
        PositionEffect.REDUCES,
        RuleOutcome.CLAMPED,
    )
    account.fills(flip, status=OrderStatus.REJECTED)
    account.book.funds.clear()
    [refused] = account.wants(301)
    assert "funds are unknown" in refused.message
    [exits] = account.wants(0, price_age=None)
    assert isinstance(exits, Approved)
    account.fills(exits, status=OrderStatus.REJECTED)
    [refused] = Account(market).wants(1, price_age=None)
    assert line(refused).observed == "unknown"


def test_a_flip_needs_what_the_other_side_needs_beyond_what_it_frees(market) -> None:
    """The margin of the closed position pays for the new one; a loss on it has to be paid first."""
    account = Account(market)
    account.trades(330)
    account.trades(-330)
    assert account.funds.margin == D(99_000)
    losing = Account(market)
    losing.trades(330, price=D(1510))
    [cut] = losing.wants(-330)
    assert cut.effect is PositionEffect.REDUCES


def payable(account: Account, units: int, price: int, product: Product = Product.CNC) -> Payable:
    """What is paid of an order at a price."""
    key = account.key(product=product)
    return account.book.payable(key, units, D(price), account.market.now, account.inputs())


def test_an_order_that_waited_is_paid_at_the_price_at_which_it_fills(market) -> None:
    """It may use what it blocks and what is available, to the rupee; beyond that nothing of it is paid."""
    account = Account(market)
    account.wants(60, account.key(product=Product.CNC))
    assert payable(account, 60, 1666) == (60, "")
    unpaid = payable(account, 60, 1667)
    assert unpaid.units == 0
    assert unpaid.message == (
        "insufficient funds: BUY 60 NSE:INFY as CNC at 1667.00 needs 100020.00 rupees of margin and charges, account"
        " 'default' has 100000.00 available"
    )
    assert payable(account, 20, 1667).units == 0  # a slice of it: the whole has to be paid


def test_what_another_order_blocks_does_not_pay_for_a_gap(market) -> None:
    """Two orders share the cash; the first can't take what the second blocks."""
    account = Account(market)
    account.wants(40, account.key(product=Product.CNC))
    account.wants(20, account.key("other", product=Product.CNC))
    assert payable(account, 40, 1750).units == 40
    assert payable(account, 40, 1751).units == 0


def test_an_exit_is_paid_after_any_gap_and_a_flip_to_flat(market) -> None:
    """The part of a flip that closes is filled, the rest isn't, because the loss has to be paid, too."""
    account = Account(market, cash=10_000)
    account.trades(30)
    account.wants(0)
    assert payable(account, -30, 1, Product.MIS) == (30, "")
    turned = Account(market, cash=10_000)
    turned.trades(30)
    turned.wants(-30)
    assert payable(turned, -60, 1500, Product.MIS) == (60, "")
    cut = payable(turned, -60, 1300, Product.MIS)
    assert (cut.units, cut.message.endswith("; only the exit was filled")) == (30, True)
    assert payable(turned, -20, 1300, Product.MIS) == (20, "")  # a slice that only closes


def test_what_is_unknown_pays_no_entry_at_the_open(market) -> None:
    """Without funds nothing is paid but exits; where funds aren't enforced, everything is."""
    account = Account(market)
    account.book.funds.clear()
    assert payable(account, 10, 1500).units == 0
    for terms in (None, replace(TERMS, enforced=False)):
        assert payable(Account(market, cash=1, terms=terms), 10, 1500) == (10, "")


@pytest.mark.parametrize(
    ("side", "price", "worst"),
    [(1, "1500", "1502.3"), (1, "249.95", "250.35"), (1, "200", "200.30"), (-1, "1500", "1500")],
)
def test_the_worst_slippage_is_rounded_to_the_tick_and_no_further(market, side, price, worst) -> None:
    """What an order blocks is the worst price at which it may fill, on the grid of that price; a sale's value is the price's."""
    account = Account(market)
    state = account.book.position(account.key(product=Product.NRML))
    infy = account.inputs().instruments.by_id("NSE:INFY")
    terms = replace(TERMS, slippage=D("0.0015"))
    assert needed(state, side * 10, D(price), infy, terms, DAY) == 10 * D(worst)


def test_off_or_live_it_asks_nothing(market) -> None:
    """With the setting off, or at a broker that keeps its own funds, the rule doesn't apply."""
    for terms in (None, replace(TERMS, enforced=False)):
        [passed] = Account(market, terms=terms).wants(5000)
        assert isinstance(passed, Approved)
        assert line(passed).outcome is RuleOutcome.NOT_APPLICABLE


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("wants"),
            st.integers(-90, 90),
            st.sampled_from(["ema-1", "other"]),
            st.sampled_from([("NSE:INFY", Product.MIS), ("NSE:INFY", Product.CNC), ("NFO:X", Product.NRML)]),
        ),
        st.tuples(
            st.just("fills"),
            st.integers(0, 4),
            st.sampled_from([None, *(status for status in OrderStatus if status.is_final)]),
            st.booleans(),
        ),
    ),
    max_size=30,
)


@given(steps=STEPS, cash=st.integers(1, 150_000))
def test_what_is_blocked_adds_up_and_is_never_more_than_there_is(new_market, steps, cash) -> None:
    """At fixed prices no accepted sequence overspends, an exit always passes, and flat without orders all is free."""
    account = Account(new_market(), cash)
    for what, *arguments in steps:
        if what == "wants":
            target(account, *arguments)
        elif account.open:
            progress(account, *arguments)
        check(account)
    while account.open:  # targets that waited, too
        order, filled, _, _ = next(iter(account.open.values()))
        account.fills(order, order.quantity - filled)
    for key, state in list(account.book.positions.items()):
        if state.quantity:
            account.trades(0, key)
    assert account.funds == AccountFunds(D(cash))


def target(account: Account, units: int, strategy: str, held_as: tuple[str, Product]) -> None:
    """A strategy's target; one that only reduces is approved."""
    instrument, product = held_as
    key = account.key(strategy, instrument, product)
    units *= LOTS[instrument]
    held = account.book.position(key)
    for verdict in account.wants(units, key):
        reduces = PositionEffect.of(held.quantity, units - held.quantity) is PositionEffect.REDUCES
        if reduces and held.open is None and units != held.quantity:
            assert isinstance(verdict, Approved)


def progress(account: Account, share: int, ending: OrderStatus | None, skipped: bool) -> None:
    """The oldest open order fills in part, or ends."""
    order, filled, _, _ = next(iter(account.open.values()))
    left, lot = order.quantity - filled, LOTS[order.key.instrument_id]
    units = left if ending is OrderStatus.FILLED else left * share // 4 // lot * lot
    if ending or units:
        status = ending or OrderStatus.PARTIALLY_FILLED
        account.fills(order, units, status, skipped=skipped and ending is None)


def check(account: Account) -> None:
    """The account's sums are those of its positions."""
    states = account.book.positions.values()
    assert account.funds.margin == sum(state.margin for state in states)
    assert account.funds.blocked == sum(state.blocked for state in states)
    assert all(state.blocked >= 0 and state.margin >= 0 for state in states)
    assert all(not state.blocked for state in states if state.open is None)
    assert account.funds.available >= 0


def option(symbol: str, kind: str, expiry: date) -> Instrument:
    return Instrument(
        f"NFO:{symbol}", 1, "NFO", symbol, "NIFTY", "NFO-OPT", kind, D("0.05"), 75, 0, "NSE_EQ", expiry
    )


def test_bought_options_need_their_premium_and_short_ones_a_share_of_the_strike() -> None:
    """The strike is read from monthly and weekly symbols; one that doesn't say it needs what can't be known."""
    monthly = option("NIFTY26NOV24500CE", "CE", date(2026, 11, 24))
    weekly = option("NIFTY26N1724500PE", "PE", date(2026, 11, 17))
    odd = option("NIFTYX", "CE", date(2026, 11, 17))
    assert (strike_of(monthly), strike_of(weekly), strike_of(odd)) == (24500, 24500, None)
    margin = TERMS.margins.margin
    assert margin(monthly, Product.NRML, 75, D(7500), DAY) == 7500
    assert margin(weekly, Product.MIS, -75, D(7500), DAY) == D("275625.00")
    assert margin(odd, Product.NRML, -75, D(7500), DAY) is None


def test_a_setting_replaces_a_dated_percentage() -> None:
    """The percentage given holds on every date; the others keep theirs."""
    given_one = load_margin_model().with_percents({MarginKind.MIS_EQUITY: D(50), MarginKind.FUTURES: None})
    assert given_one.percent(MarginKind.MIS_EQUITY, date(1990, 1, 1)) == 50
    assert given_one.percent(MarginKind.FUTURES, date(1990, 1, 1)) == 15
    with pytest.raises(ValueError, match="margin of futures"):
        parse_margin_model({"rates": [{"kind": "mis_equity", "since": [["2020-01-01", "20"]]}]})


def test_a_position_of_before_funds_were_tracked_is_closed(market) -> None:
    """A position without a margin frees nothing and its exit passes."""
    account = Account(market)
    account.book = RiskBook([PositionState(account.key(), 5)], funds={WHOSE: AccountFunds(D(10))})
    account.trades(0)
    assert account.funds.margin == 0
