"""Targets that say a size in rupees or percent of the balance."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.unit.risk.test_funds import TERMS, Account, line
from tests.values import replace

from alphapanda.domain.funds import AccountFunds, FundsTerms
from alphapanda.domain.order import OrderStatus, PositionEffect, Product
from alphapanda.domain.verdict import Approved, Refused, RuleOutcome
from alphapanda.risk.core.book import RiskBook

D = Decimal


class Sizing(Account):
    """An account whose targets say a size; the price is 1500 rupees."""

    def sized(self, size: str, sign: int = 1, key=None, **known: object):
        key = key or self.key()
        token = {"NSE:INFY": 408065, "NFO:X": 9001}[key.instrument_id]
        signal = self.market.target(sign, key=key, revision=0, token=token)
        [verdict] = self.take(self.book.judge(replace(signal, size=size), self.inputs(**known)))
        return verdict


def size_line(verdict):
    return next(result for result in verdict.rules if result.rule == "size")


@pytest.mark.parametrize(
    ("size", "units", "limit"),
    [
        ("10%", 66, "10% = 100000.00 rupees"),
        ("50000INR", 33, "50000INR"),
        ("0.15%", 1, "0.15% = 1500.00 rupees"),
    ],
)
def test_a_size_becomes_units_and_the_verdict_says_how(market, size, units, limit) -> None:
    """Value divided by the last price, rounded down."""
    verdict = Sizing(market, 1_000_000).sized(size)
    assert (verdict.quantity, verdict.effect) == (units, PositionEffect.OPENS)
    assert (size_line(verdict).limit, size_line(verdict).observed) == (limit, f"{units} at 1500.00")


def test_lots_are_rounded_down_and_less_than_one_is_refused(market) -> None:
    """A future's lot is 75 units: 112,500 rupees each."""
    account = Sizing(market, 1_000_000)
    key = account.key(instrument="NFO:X", product=Product.NRML)
    assert account.sized("25%", key=key).quantity == 150
    refused = Sizing(market, 1_000_000).sized("100000INR", key=key)
    assert isinstance(refused, Refused)
    assert refused.reason == "SIZE"
    assert refused.message == "100000.00 rupees buy no lot of 75 of NFO:X at 1500.00"


def test_the_whole_balance_leaves_room_for_costs(market) -> None:
    """100% in delivery buys what slippage and charges leave; a size that funds can't pay without them is refused."""
    costly = FundsTerms(TERMS.margins, D("0.001"), lambda *_: D(300))
    account = Sizing(market, 150_000, costly)
    cnc = account.key(product=Product.CNC)
    verdict = account.sized("100%", key=cnc)
    assert (verdict.quantity, line(verdict).outcome) == (99, RuleOutcome.PASSED)
    refused = Sizing(market, 150_000, costly).sized("101%", key=cnc)
    assert refused.reason == "BUYING_POWER"


def test_a_held_position_keeps_its_units(market) -> None:
    """A size is decided when a position is opened: the same direction again changes nothing, whatever the price."""
    account = Sizing(market, 1_000_000)
    account.fills(account.sized("10%"))
    held = account.sized("20%")
    assert held.reason == "ALREADY_AT_TARGET"
    flip = account.sized("10%", -1)
    assert (flip.quantity, flip.effect) == (132, PositionEffect.FLIPS)


def test_what_can_not_be_sized_only_closes(market) -> None:
    """Without a price or a balance an entry is refused with the reason, and the other side's position is closed."""
    account = Sizing(market, 1_000_000)
    assert account.sized("10%", price_age=None).reason == "SIZE"
    account.fills(account.sized("10%"))
    closing = account.sized("10%", -1, price_age=None)
    assert isinstance(closing, Approved)
    assert (closing.quantity, closing.effect) == (66, PositionEffect.REDUCES)
    account.fills(closing, status=OrderStatus.REJECTED)
    live = Sizing(market, terms=None)
    live.book = RiskBook()
    assert "balance is unknown here; give rupees or units" in live.sized("10%").message
    assert live.sized("50000INR").quantity == 33
    exits = account.sized("10%", 0)
    assert (exits.quantity, exits.effect) == (66, PositionEffect.REDUCES)


def test_the_balance_counts_what_was_lost(market) -> None:
    """Percent is of starting cash with realised profit less charges."""
    account = Sizing(market, 1_000_000)
    account.book.funds["paper", "default"] = AccountFunds(D(1_000_000), D(-400_000))
    assert account.sized("10%").quantity == 40
