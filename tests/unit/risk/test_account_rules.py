"""Rules that look beyond one order: money, the account, the day, the clock."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.values import replace

from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.order import OrderStatus, PositionEffect, Side, TradingState
from alphapanda.domain.order_events import Fill
from alphapanda.domain.verdict import Approved, Refused, RuleOutcome, Verdict
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import Inputs, StrategyStatus
from alphapanda.risk.core.day import WHOLE_ACCOUNT
from alphapanda.risk.core.exposure import by_instrument, unrealised
from alphapanda.risk.core.position import PositionState
from alphapanda.risk.core.scoped_limits import ScopedLimits

D = Decimal


class Account:
    """One book and a market whose limits, prices and time can be set."""

    def __init__(self, market, **limits) -> None:
        self.market = market
        self.book = RiskBook()
        self.limits = limits
        self.prices = {"NSE:INFY": D(1500), "NFO:X": D(100)}
        self.now = market.now
        self.revisions: dict[str, int] = {}
        self.strategies = {name: StrategyStatus(3, running=True) for name in ("ema-1", "other")}

    def inputs(self) -> Inputs:
        plain = self.market.inputs(now=self.now)
        prices = {
            instrument.instrument_token: LastPrice(self.prices[instrument.instrument_id], self.now)
            for instrument in plain.instruments
            if instrument.instrument_id in self.prices
        }
        view = MarketView(self.now, "run", prices)
        limits = plain.limits.with_values(self.limits)
        return replace(plain, market=view, limits=limits, strategy_statuses=self.strategies)

    def key(self, strategy: str = "ema-1", instrument: str = "NSE:INFY"):
        return replace(self.market.key, strategy_id=strategy, instrument_id=instrument)

    def wants(self, target: int, strategy: str = "ema-1", instrument: str = "NSE:INFY") -> Verdict:
        token = {"NSE:INFY": 408065, "NFO:X": 9001}[instrument]
        signal = self.market.target(
            target, key=self.key(strategy, instrument), token=token, valid_until=self.now + timedelta(hours=1)
        )
        [verdict] = self.book.judge(signal, self.inputs())
        return verdict

    def fills(
        self,
        order: Verdict,
        price: object,
        status: OrderStatus = OrderStatus.FILLED,
        units: int = 0,
        charges: Decimal | None = None,
    ):
        assert isinstance(order, Approved)
        units = units or order.quantity
        revision = self.revisions[order.signal_id] = self.revisions.get(order.signal_id, 0) + 1
        event = replace(
            self.market.event(order, units, status, revision, self.now),
            average_price=D(str(price)),
            charges=charges,
        )
        return self.book.on_order(event, self.inputs())

    def trades(self, target: int, price: object, strategy: str = "ema-1") -> None:
        self.prices["NSE:INFY"] = D(str(price))
        self.fills(self.wants(target, strategy), price)

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)

    @property
    def day(self):
        return self.book.today(self.key(), WHOLE_ACCOUNT, self.inputs())


def line(verdict: Verdict, rule: str):
    return next(one for one in verdict.rules if one.rule == rule)


def is_refused(verdict: Verdict, rule: str, largest: int = 0) -> None:
    """Refused by this rule, with a sentence, and with what would have passed."""
    assert isinstance(verdict, Refused)
    assert (verdict.reason, verdict.largest_quantity) == (rule.upper(), largest)
    assert verdict.message == line(verdict, rule).message != ""


def test_an_entry_is_worth_at_most_its_limit(market) -> None:
    """Order value is units at the last price; the verdict says how many units the limit buys."""
    account = Account(market, max_order_value=D(15_000))
    is_refused(account.wants(11), "order_value", largest=10)
    account.trades(10, 1500)
    account.prices["NSE:INFY"] = D(3000)
    flip = account.wants(-10)
    assert isinstance(flip, Approved)
    assert (flip.quantity, flip.effect) == (10, PositionEffect.REDUCES)
    assert line(flip, "order_value").outcome is RuleOutcome.CLAMPED


def test_largest_quantity_is_whole_lots_under_every_limit(market) -> None:
    """The smallest of what the failed rules would let through, rounded down to the lot of 75."""
    account = Account(market, max_order_value=D(20_000), max_order_quantity=160)
    is_refused(account.wants(300, instrument="NFO:X"), "order_quantity", largest=150)
    account.limits["max_order_value"] = D(7_000)
    is_refused(account.wants(300, instrument="NFO:X"), "order_quantity", largest=0)


def test_position_value_counts_every_strategy_and_what_is_on_its_way(market) -> None:
    """A strategy's open order takes room from another's in the same instrument; a short one as well."""
    account = Account(market, max_position_value=D(30_000))
    assert isinstance(account.wants(-12, "other"), Approved)
    is_refused(account.wants(9), "position_value", largest=8)
    assert isinstance(account.wants(8), Approved)


def test_gross_exposure_is_the_whole_accounts(market) -> None:
    """Long and short in different instruments add up, held or on their way."""
    account = Account(market, max_gross_exposure=D(30_000))
    account.trades(-10, 1500, "other")
    assert isinstance(account.wants(75, instrument="NFO:X"), Approved)
    is_refused(account.wants(6), "gross_exposure", largest=5)


def test_a_price_that_is_missing_bars_entries_where_exposure_is_limited(market) -> None:
    """What another position is worth isn't known: an entry is refused, an exit waived through."""
    account = Account(market, max_gross_exposure=D(10**6))
    account.fills(account.wants(75, instrument="NFO:X"), 100)
    account.trades(10, 1500)
    del account.prices["NFO:X"]
    is_refused(account.wants(20), "gross_exposure")
    leaving = account.wants(0)
    assert line(leaving, "gross_exposure").outcome is RuleOutcome.WAIVED


def test_open_orders_are_counted_over_the_account(market) -> None:
    """One more than the limit is refused, until one ends; the waiting target of an ended order isn't one too many."""
    account = Account(market, max_open_orders=1)
    first = account.wants(10)
    is_refused(account.wants(5, "other"), "open_orders")
    assert account.book.judge(account.market.target(20), account.inputs()) == []
    [second] = account.fills(first, 1500)
    assert isinstance(second, Approved)


def test_trades_of_the_day_are_counted_and_forgotten_with_it(market) -> None:
    """Orders that ended unfilled don't count; the next exchange day begins at nothing."""
    account = Account(market, max_daily_trades=2)
    account.trades(10, 1500)
    failed = account.wants(20)
    event = account.market.event(failed, 0, OrderStatus.REJECTED, 1, account.now)
    account.book.on_order(event, account.inputs())
    account.trades(30, 1500)
    is_refused(account.wants(40), "daily_trades")
    leaving = account.wants(0)
    assert isinstance(leaving, Approved)
    assert account.day.trades == 3
    account.fills(leaving, 1500)
    account.later(days=1)
    assert isinstance(account.wants(40), Approved)


def test_an_order_whose_first_fill_came_after_its_end_is_a_trade(market) -> None:
    """It ended unfilled and didn't count; the late fill makes it one, once."""
    account = Account(market, max_daily_trades=2)
    order = account.wants(10)
    for filled, revision, trades in ((0, 1, 0), (4, 2, 1), (10, 3, 1)):
        event = account.market.event(order, filled, OrderStatus.CANCELLED, revision, account.now)
        account.book.on_order(event, account.inputs())
        assert account.day.trades == trades
    assert account.book.position(order.key).quantity == 10


def test_the_trades_of_a_strategy_are_its_own(market) -> None:
    """One strategy that has reached its number doesn't stop another."""
    account = Account(market, max_strategy_daily_trades=1)
    account.trades(10, 1500)
    is_refused(account.wants(20), "daily_trades")
    assert isinstance(account.wants(20, "other"), Approved)


def test_charges_count_to_the_daily_loss(market) -> None:
    """What fills cost adds up with what positions lose, for orders that open and orders that close, and ends with the day."""
    account = Account(market, max_daily_loss=D(1_000))
    entry = account.wants(10)
    account.fills(entry, 1500, charges=D("300.50"))
    account.prices["NSE:INFY"] = D(1450)
    assert (account.day.charges, account.day.realised, account.day.tripped) == (D("300.50"), 0, "")
    assert line(account.wants(10, "other"), "daily_loss").observed == "800.50"
    account.fills(account.wants(0), 1450, charges=D("199.50"))
    assert (account.day.charges, account.day.realised) == (D(500), D(-500))
    assert "lost 1000.00" in account.day.tripped
    account.later(days=1)
    assert account.day.charges == 0


def test_a_round_trip_that_charges_turn_into_a_loss_is_one(market) -> None:
    """A gain of 100 rupees that cost 60 to open and 60 to close loses; of a flip each trip bears its units' share."""
    account = Account(market, cooldown_losses=5, cooldown=timedelta(minutes=10))
    account.fills(account.wants(10), 1500, charges=D(60))
    account.prices["NSE:INFY"] = D(1510)
    account.fills(account.wants(-10), 1510, charges=D(120))
    history = account.book.position(account.key()).history
    assert (history.losses, history.round_trip) == (1, D(-60))
    account.fills(account.wants(0), 1503, charges=D(9))
    assert account.book.position(account.key()).history.losses == 0


def test_a_daily_loss_trips_the_account_to_reducing_for_the_day(market) -> None:
    """A marked loss counts; once tripped it stays so though prices recover; exits pass, and tomorrow is new."""
    account = Account(market, max_daily_loss=D(1_000))
    account.trades(10, 1500)
    account.prices["NSE:INFY"] = D("1400.05")
    assert isinstance(account.wants(10, "other"), Approved)
    account.prices["NSE:INFY"] = D(1400)
    refused = account.wants(20)
    is_refused(refused, "daily_loss")
    assert "lost 1000.00" in refused.message
    assert line(refused, "daily_loss").observed == "1000.00"
    account.prices["NSE:INFY"] = D(1600)
    again = account.wants(75, instrument="NFO:X")
    is_refused(again, "daily_loss")
    assert line(again, "daily_loss").observed == "REDUCING"
    flip = account.wants(-10)
    assert isinstance(flip, Approved)
    assert flip.effect is PositionEffect.REDUCES
    account.fills(flip, 1600)
    account.later(days=1)
    assert isinstance(account.wants(5), Approved)


def test_a_realised_loss_trips_at_the_fill(market) -> None:
    """The account is tripped by the fill itself, before anybody wants anything."""
    account = Account(market, max_daily_loss=D(100))
    account.trades(10, 1500)
    account.trades(0, 1490)
    assert account.day.realised == D(-100)
    assert account.day.tripped
    is_refused(account.wants(1, "other"), "daily_loss")


def test_a_loss_that_is_unknown_bars_entries(market) -> None:
    """A position from before costs were kept, or one without a price, makes the day's profit unknown."""
    account = Account(market, max_daily_loss=D(100))
    account.book = RiskBook([PositionState(account.key("other"), 5)])
    is_refused(account.wants(1), "daily_loss")
    assert line(account.wants(0, "other"), "daily_loss").outcome is RuleOutcome.WAIVED


def test_orders_are_counted_in_a_sliding_window(market) -> None:
    """At the rate the next one is refused; exits pass and count; a window later there is room again."""
    account = Account(market, max_order_rate=2, order_rate_window=timedelta(seconds=10))
    account.trades(10, 1500)
    account.later(seconds=6)
    account.trades(0, 1500)
    is_refused(account.wants(5, "other"), "order_rate")
    account.later(seconds=3.9)
    is_refused(account.wants(5, "other"), "order_rate")
    account.later(seconds=0.1)
    assert isinstance(account.wants(5, "other"), Approved)
    is_refused(account.wants(5), "order_rate")


def test_the_rate_of_a_strategy_is_its_own(market) -> None:
    """One strategy at its rate doesn't stop another."""
    account = Account(market, max_strategy_order_rate=1)
    account.trades(10, 1500)
    is_refused(account.wants(20), "order_rate")
    assert isinstance(account.wants(5, "other"), Approved)


def test_the_same_wish_is_taken_once_in_a_while(market) -> None:
    """A target made again after its order failed is refused within the window; another one, or a later one, passes."""
    account = Account(market, duplicate_window=timedelta(seconds=5))

    def fails(target: int) -> None:
        order = account.wants(target)
        account.book.on_order(
            account.market.event(order, 0, OrderStatus.REJECTED, 1, account.now), account.inputs()
        )

    fails(10)
    account.later(seconds=4.9)
    is_refused(account.wants(10), "duplicate_signal")
    fails(11)
    assert isinstance(account.wants(10), Approved)


def test_a_persons_order_sent_twice_is_taken_once(market) -> None:
    """Same side and quantity under the same key within the window."""
    account = Account(market, duplicate_window=timedelta(seconds=5))
    [first] = account.book.judge(market.explicit(Side.BUY, 5), account.inputs())
    account.fills(first, 1500)
    [again] = account.book.judge(market.explicit(Side.BUY, 5), account.inputs())
    is_refused(again, "duplicate_signal")
    account.later(seconds=5)
    [later] = account.book.judge(market.explicit(Side.BUY, 5), account.inputs())
    assert isinstance(later, Approved)


def test_losing_round_trips_in_a_row_start_a_cooldown(market) -> None:
    """After the second loss no entry passes for its length; a winner in between ends the row, and so does the day."""
    account = Account(market, cooldown_losses=2, cooldown=timedelta(minutes=10))

    def round_trip(gain: int) -> None:
        account.trades(10, 1500)
        account.trades(0, 1500 + gain)

    for gain in (-1, 1, -1):
        round_trip(gain)
    round_trip(-1)
    is_refused(account.wants(10), "cooldown")
    assert isinstance(account.wants(10, "other"), Approved)
    account.later(minutes=9, seconds=59)
    is_refused(account.wants(10), "cooldown")
    account.later(seconds=1)
    round_trip(-1)
    is_refused(account.wants(10), "cooldown")
    account.later(days=1)
    round_trip(-1)
    assert isinstance(account.wants(10), Approved)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_daily_trades": 5},
        {"max_daily_loss": D(5)},
        {"max_order_rate": 5},
        {"duplicate_window": timedelta(seconds=1)},
        {"cooldown_losses": 1},
    ],
)
def test_an_unknown_market_time_waives_exits(market, limits) -> None:
    """Rules of the day and the clock refuse entries without a time, and waive exits through."""
    account = Account(market, **limits)
    account.trades(10, 1500)
    known = account.inputs()
    unknown = replace(known, market=replace(known.market, market_time=None))
    [opening] = account.book.judge(account.market.target(20), unknown)
    failed = [one.rule for one in opening.rules if one.outcome is RuleOutcome.FAILED]
    [leaving] = account.book.judge(account.market.target(0), unknown)
    waived = [one.rule for one in leaving.rules if one.outcome is RuleOutcome.WAIVED]
    assert isinstance(leaving, Approved)
    assert failed == waived
    assert len(failed) == 4


def test_the_stricter_of_two_kill_switches_counts(market) -> None:
    """A strategy at HALTED takes nothing while another trades on; the broker's REDUCING isn't lifted by an ACTIVE one."""
    account = Account(market)
    account.trades(10, 1500)
    halted = replace(account.inputs(), strategy_switches={"ema-1": TradingState.HALTED})
    [leaving] = account.book.judge(market.target(0), halted)
    is_refused(leaving, "kill_switch")
    assert "strategy 'ema-1' at 'paper' is HALTED" in leaving.message
    [other] = account.book.judge(market.target(5, key=account.key("other")), halted)
    assert isinstance(other, Approved)
    reducing = replace(
        account.inputs(),
        trading_state=TradingState.REDUCING,
        strategy_switches={"ema-1": TradingState.ACTIVE},
    )
    [opening] = account.book.judge(market.target(20), reducing)
    is_refused(opening, "kill_switch")


def test_an_instrument_whose_books_differ_takes_only_reductions(market) -> None:
    """Entries in it are refused with the discrepancy's words; exits pass, a flip closes only, and other instruments trade on."""
    account = Account(market)
    account.trades(10, 1500)
    why = "POSITION: we have 10, the broker 7 (position; `alphapanda reconcile list --broker zerodha`)"
    halted = replace(account.inputs(), scoped=ScopedLimits(halts={market.key.instrument_id: why}))
    [opening] = account.book.judge(market.target(20), halted)
    is_refused(opening, "kill_switch")
    assert opening.message.endswith(why)
    [flipping] = account.book.judge(market.target(-5), halted)
    assert isinstance(flipping, Approved)
    assert flipping.quantity == 10
    elsewhere = replace(account.inputs(), scoped=ScopedLimits(halts={"NSE:OTHER": why}))
    other = Account(market)
    [passes] = other.book.judge(market.target(5), elsewhere)
    assert isinstance(passes, Approved)


def test_fills_count_at_their_own_price(market) -> None:
    """Where every fill is seen the cost is exact though the average is rounded; a repeated event changes nothing."""
    account = Account(market)
    order = account.wants(3)
    filled = 0
    for revision, (units, price) in enumerate([(1, "100.10"), (2, "100.05")], 1):
        filled += units
        status = OrderStatus.FILLED if filled == 3 else OrderStatus.PARTIALLY_FILLED
        event = replace(
            market.event(order, filled, status, revision, account.now), average_price=D("100.066667")
        )
        fill = Fill(f"f{revision}", "T", units, D(price), D(0), account.now)
        account.book.on_order(event, account.inputs(), fill)
        account.book.on_order(event, account.inputs(), fill)
    assert account.book.position(account.key()).history.cost == D("300.20")


TRADES = st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 40_000)), min_size=1, max_size=25)


@given(trades=TRADES, last=st.integers(1, 40_000))
def test_profit_is_cash_and_value(new_market, trades, last) -> None:
    """Whatever is traded at whatever prices: realised plus marked is cash taken in plus what is held, to the paisa."""
    account, cash, held = Account(new_market()), D(0), 0
    for target, paise in trades:
        if target != held:
            price = D(paise) / 20
            cash -= (target - held) * price
            held = target
            account.trades(target, price)
    account.prices["NSE:INFY"] = D(last) / 20
    inputs = account.inputs()
    marked = unrealised(account.book.positions.values(), inputs.price_of)
    realised = account.day.realised if account.day else D(0)
    assert realised + marked == cash + held * account.prices["NSE:INFY"]


LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "max_order_quantity": st.integers(0, 400),
        "max_position_quantity": st.integers(0, 400),
        "max_order_value": st.integers(1, 40_000).map(Decimal),
        "max_position_value": st.integers(1, 60_000).map(Decimal),
        "max_gross_exposure": st.integers(1, 90_000).map(Decimal),
        "max_open_orders": st.integers(0, 2),
    },
)


@given(limits=LIMITS, held=st.integers(0, 3), other=st.integers(-3, 3), lots=st.integers(1, 6))
def test_the_largest_quantity_passes_and_a_lot_more_does_not(new_market, limits, held, other, lots) -> None:
    """An order of exactly the quantity that a refusal names passes; one lot more is refused."""

    def desk_with(extra: dict) -> Account:
        account = Account(new_market())
        for strategy, position in (("ema-1", held), ("other", other)):
            if position:
                account.fills(account.wants(position * 75, strategy, "NFO:X"), 100)
        account.limits = extra
        return account

    verdict = desk_with(limits).wants((held + lots) * 75, instrument="NFO:X")
    if isinstance(verdict, Approved):
        return
    largest = verdict.largest_quantity
    assert largest % 75 == 0
    if largest:
        assert isinstance(desk_with(limits).wants(held * 75 + largest, instrument="NFO:X"), Approved)
    assert isinstance(desk_with(limits).wants(held * 75 + largest + 75, instrument="NFO:X"), Refused)


def test_exposure_by_instrument_nets_and_adds_up(market) -> None:
    """Of one instrument: what is held and on its way offset in the net and add up in the gross."""
    account = Account(market)
    account.trades(10, 1500)
    account.trades(-4, 1500, "other")
    account.wants(15)
    [infy] = by_instrument(account.book.positions.values(), account.inputs().price_of)
    assert (infy.held, infy.in_flight, infy.most) == (6, 5, 19)
    assert (infy.gross, infy.net) == (D(28_500), D(16_500))
    [unknown] = by_instrument(account.book.positions.values(), lambda _: None)
    assert (unknown.gross, unknown.net) == (None, None)
