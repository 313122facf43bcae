"""Rules that hold only where orders reach a real exchange."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from structlog.testing import capture_logs
from tests.values import replace

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.order import PositionEffect, Product, Side
from alphapanda.domain.signal import FOREIGN
from alphapanda.domain.verdict import Approved, Refused
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import Inputs, LiveArming, Venue
from alphapanda.risk.core.position import OrderProgress, PositionState, TradeHistory
from alphapanda.risk.restricted_file import RestrictedFile, read_restricted

LIVE = ("zerodha",)


def live(inputs: Inputs, day: date | None = None) -> Inputs:
    """The same inputs at a live account that is armed, with the limits that it needs."""
    at = inputs.market.market_time
    needed = {"max_order_value": Decimal(10**7), "max_daily_loss": Decimal(10**6), "max_daily_trades": 99}
    return replace(
        inputs,
        limits=inputs.limits.with_values(needed),
        venue=Venue.LIVE,
        arming=LiveArming(day or (at.date() if at else None)),
    )


def judged(book: RiskBook, signal, inputs: Inputs):
    [verdict] = book.judge(signal, inputs)
    return verdict


def owned(key, quantity: int) -> PositionState:
    """A position of what it cost."""
    return PositionState(key, quantity, history=TradeHistory(Decimal(1500 * quantity)))


@pytest.fixture
def opposed(market):
    """Another strategy holds 50, and a third has a sale under way."""
    other = replace(market.key, strategy_id="other")
    seller = replace(market.key, strategy_id="seller", product=Product.CNC)
    order = OrderProgress("o-1", seller, Side.SELL, 20, filled=5)
    return RiskBook([PositionState(other, 50), PositionState(seller, 20, open=order)])


@pytest.mark.parametrize(
    ("target", "says"),
    [(10, "strategy 'seller' sells 15 NSE:INFY"), (-10, "strategy 'other' holds 50 NSE:INFY as MIS")],
)
def test_rule_10_a_live_account_does_not_trade_against_itself(market, opposed, target, says) -> None:
    """An entry opposed to another strategy's working order, of any product, or to its position is refused; on paper it isn't."""
    verdict = judged(opposed, market.target(target), live(market.inputs()))
    assert isinstance(verdict, Refused)
    assert (verdict.reason, says in verdict.message) == ("SELF_TRADE", True)
    assert isinstance(judged(opposed, market.target(target), market.inputs()), Approved)


def test_rule_9_an_exit_passes_against_others_and_a_flip_ends_flat(market, opposed) -> None:
    """What only closes our own position is sent; its other part isn't, so no position crosses the others'."""
    opposed.positions[market.key] = PositionState(market.key, -30)
    flip = judged(opposed, market.target(10), live(market.inputs()))
    assert isinstance(flip, Approved)
    assert (flip.side, flip.quantity, flip.effect) == (Side.BUY, 30, PositionEffect.REDUCES)


def test_rule_10_the_same_direction_and_other_instruments_are_no_self_trade(market) -> None:
    """Two strategies that both buy, and a sale of something else."""
    other = replace(market.key, strategy_id="other")
    index = replace(other, instrument_id="NFO:X")
    book = RiskBook([owned(other, 50), owned(index, -75)])
    assert isinstance(judged(book, market.target(10), live(market.inputs())), Approved)


@pytest.mark.parametrize(("hours", "passes"), [("NSE_EQ", False), ("NSE_EQ_CAS", True)])
def test_rule_14_no_intraday_short_where_a_circuit_may_lock_it(market, hours, passes) -> None:
    """A share without derivatives takes none at a live broker; a long position is closed all the same, and paper takes it."""
    plain = market.inputs()
    infy = replace(plain.instruments.by_id("NSE:INFY"), session_segment=hours)
    inputs = replace(plain, instruments=InstrumentDirectory([infy]))
    verdict = judged(RiskBook(), market.target(-10), live(inputs))
    assert isinstance(verdict, Approved) is passes
    if isinstance(verdict, Refused):
        assert verdict.reason == "INTRADAY_SHORT"
    flip = judged(RiskBook([owned(market.key, 10)]), market.target(-10), live(inputs))
    assert flip.quantity == (20 if passes else 10)
    assert isinstance(judged(RiskBook(), market.target(-10), inputs), Approved)


def held(
    market, instrument_id: str, product: Product, *, strategy: str = "ema-1", quantity: int = 75
) -> PositionState:
    key = replace(
        market.key, broker="zerodha", instrument_id=instrument_id, product=product, strategy_id=strategy
    )
    return PositionState(key, quantity, market.now)


def test_rule_14_intraday_positions_of_a_live_account_are_flat_from_15_00(market) -> None:
    """As those of paper; what was bought elsewhere is never touched."""
    book = RiskBook(
        [held(market, "NSE:INFY", Product.MIS), held(market, "NSE:INFY", Product.MIS, strategy=FOREIGN)]
    )
    at = market.now.replace(hour=15)
    assert book.due(market.inputs(now=at - timedelta(seconds=1)), LIVE, "", LIVE) == []
    [signal] = book.due(market.inputs(now=at), LIVE, "", LIVE)
    assert (signal.key.strategy_id, signal.target, signal.reason) == ("ema-1", 0, "MIS square-off")


def contract(name: str, kind: str) -> Instrument:
    expiry = date(2026, 12, 29)
    symbol = f"{name}26DEC{kind}"
    return Instrument(
        f"NFO:{symbol}@{expiry}", 9, "NFO", symbol, name, "NFO-FUT", kind, Decimal("0.05"), 75, 0, "NSE_FO", expiry
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "at", "due"),
    [
        ("NIFTY", "2026-12-28T15:39", False),
        ("NIFTY", "2026-12-29T15:09", False),
        ("NIFTY", "2026-12-29T15:10", True),
        ("INFY", "2026-12-24T15:30", False),
        ("INFY", "2026-12-28T14:59", False),
        ("INFY", "2026-12-28T15:00", True),
        ("INFY", "2026-12-29T09:15", True),
    ],
)
def test_rule_19_contracts_are_closed_before_they_expire(market, name, at, due) -> None:
    """At a live broker: an index's at 15:10 of the last day, a stock's on the session before, as NRML too; paper keeps them."""
    future = contract(name, "FUT")
    now = datetime.fromisoformat(at).replace(tzinfo=market.now.tzinfo)
    inputs = replace(market.inputs(now=now), instruments=InstrumentDirectory([future]))
    book = RiskBook([held(market, future.instrument_id, Product.NRML)])
    found = book.due(inputs, LIVE, "", LIVE)
    assert bool(found) is due
    if due:
        assert found[0].reason == "square-off before it expires on 2026-12-29"
    assert book.due(inputs, LIVE, "") == []


def test_rule_19_a_stocks_contract_takes_no_entry_from_the_fourth_session_before_its_expiry(market) -> None:
    """Refused by name; what is held is closed."""
    future = contract("INFY", "FUT")
    now = market.now.replace(month=12, day=22)
    price = {9: LastPrice(Decimal(1500), now)}
    plain = market.inputs(now=now)
    inputs = replace(
        plain,
        instruments=InstrumentDirectory([future]),
        market=MarketView(plain.market.market_time, "run", price),
    )
    key = replace(market.key, instrument_id=future.instrument_id, product=Product.NRML)
    later = now + timedelta(hours=5)
    entry = judged(RiskBook(), market.target(75, key=key, token=9, valid_until=later), inputs)
    assert isinstance(entry, Refused)
    assert (entry.reason, "physical delivery" in entry.message) == ("CAPABILITY", True)
    book = RiskBook([PositionState(key, 75)])
    assert isinstance(judged(book, market.target(0, key=key, token=9, valid_until=later), inputs), Approved)


LIST = """
as_of = 2026-03-03
[[restricted]]
symbol = "NSE:INFY"
refuses = "{refuses}"
list = "ASM stage 2"
"""


def restricted(tmp_path, refuses: str = "MIS", days: int = 3):
    file = tmp_path / "restricted.toml"
    file.write_text(LIST.format(refuses=refuses))
    return read_restricted(file, days)


@pytest.mark.parametrize(
    ("refuses", "product", "passes"),
    [
        ("MIS", Product.MIS, False),
        ("MIS", Product.CNC, True),
        ("entries", Product.CNC, False),
        ("contracts", Product.CNC, True),
    ],
)
def test_rule_22_what_the_exchange_restricts_takes_no_live_entry(
    market, tmp_path, refuses, product, passes
) -> None:
    """By the dated list: MIS, or all entries; exits pass, and paper asks no list."""
    key = replace(market.key, product=product)
    inputs = replace(live(market.inputs()), restricted=restricted(tmp_path, refuses))
    verdict = judged(RiskBook(), market.target(10, key=key), inputs)
    assert isinstance(verdict, Approved) is passes
    if isinstance(verdict, Refused):
        assert verdict.message == f"NSE:INFY is on the exchange's list 'ASM stage 2', which refuses {refuses}"
    assert isinstance(judged(RiskBook([owned(key, 10)]), market.target(0, key=key), inputs), Approved)
    assert isinstance(judged(RiskBook(), market.target(10, key=key), replace(inputs, arming=None)), Approved)


@pytest.mark.parametrize(
    ("days", "refuses", "says"),
    [
        (None, "", "may be in the F&O ban"),
        (0, "MIS", "the list of restricted instruments is of 2026-03-03, more than 0 days old"),
        (3, "contracts", "which refuses contracts"),
        (3, "MIS", ""),
    ],
)
def test_rule_22_a_stocks_contract_needs_a_list_that_is_not_too_old(
    market, tmp_path, days, refuses, says
) -> None:
    """Without one, with an old one, or on it: refused by name. A share needs none, but no old one either; an index's contract is free."""
    future = contract("INFY", "FUT")
    plain = market.inputs()
    inputs = replace(
        live(plain),
        instruments=InstrumentDirectory([future, *plain.instruments]),
        market=replace(plain.market, prices={**plain.market.prices, 9: LastPrice(Decimal(1500), market.now)}),
        restricted=None if days is None else restricted(tmp_path, refuses, days),
    )
    key = replace(market.key, instrument_id=future.instrument_id, product=Product.NRML)
    verdict = judged(RiskBook(), market.target(75, key=key, token=9), inputs)
    assert says in getattr(verdict, "message", "")
    assert isinstance(verdict, Refused) is bool(says)
    share = judged(RiskBook(), market.target(10, key=replace(market.key, product=Product.CNC)), inputs)
    assert isinstance(share, Refused) is (days == 0)


def test_rule_22_an_old_list_is_an_alarm_once_a_day_and_a_new_one_is_read(tmp_path) -> None:
    """The file is looked at every ten seconds; one that can't be read leaves the list before it."""
    clock, now = [0.0], [datetime(2026, 3, 6, 4, 0, tzinfo=UTC)]
    path = tmp_path / "restricted.toml"
    path.write_text(LIST.format(refuses="MIS"))
    with capture_logs() as logs:
        file = RestrictedFile(path, 3, lambda: now[0], lambda: clock[0])
        for day in (6, 7, 7, 8):
            now[0] = now[0].replace(day=day)
            clock[0] += 10
            file()
        for content, stamp in (
            ("as_of = 'x'", 1),
            (LIST.format(refuses="entries").replace("03-03", "03-08"), 2),
        ):
            path.write_text(content)
            os.utime(path, (stamp, stamp))
            clock[0] += 10
            file()
    events = [one["event"] for one in logs]
    outdated = ["restricted_list.outdated"] * 2
    assert events == [*outdated, "restricted_list.unreadable", "restricted_list.read"]
    assert file().as_of == date(2026, 3, 8)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "as_of"),
        ("as_of = 2026-03-03\n[[restricted]]\nsymbol = 'INFY'", "a share such as NSE:INFY"),
        (
            "as_of = 2026-03-03\n[[restricted]]\nsymbol = 'NSE:INFY'\nrefuses = 'all'",
            "MIS, contracts, entries",
        ),
    ],
)
def test_a_wrong_list_of_restricted_instruments_is_named(tmp_path, content, says) -> None:
    """At the start it stops the service, which says what is wrong."""
    path = tmp_path / "restricted.toml"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=says):
        RestrictedFile(path, 3, lambda: datetime.now(tz=UTC))
